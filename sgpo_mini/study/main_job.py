"""The main job: train with GRPO and SGPO from the same student, evaluate both, write a report."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from .. import plots
from ..evaluation import evaluate
from ..mini_gsm.pretraining import MAX_NEW_TOKENS
from ..mini_gsm.world import TRANSFER_SPLITS, make_problems
from ..rollout import sample, strategy_kl
from ..student import Student, load_student
from ..support.files import write_whole
from .comparison import run_rows
from .evaluations import mean
from .figures import accuracy_by_verb, accuracy_curve
from .packed_runs import PackedRun, read_packed
from .rows import config_of
from .tables import ceilings_of, compared, methods_of, outcome_table, told

METHODS = ("grpo", "sgpo")  # differences are SGPO minus GRPO


def run_and_report(
    out: str | Path,
    *,
    student: str = "tiny",
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    command: str = "",
) -> str:
    """Train both methods with each seed, evaluate on every split, and write `report.md`.

    Returns the report's text. One seed shows how the methods work; comparing them takes several.
    `command` is the command that the report shows. Raises ValueError, before anything starts, if
    `compare` refuses the configurations.
    """
    out = Path(out)
    begin = time.perf_counter()
    run_rows(out, METHODS, student, seeds, steps)
    base = read_packed(out, "base")
    runs = {name: [read_packed(out, f"{name}-{seed}") for seed in seeds] for name in METHODS}
    rows = compared(runs, base)
    write_whole(out / "comparison.json", json.dumps(rows, indent=1) + "\n")
    draw_figures(out / "figures", student, {name: made[0] for name, made in runs.items()}, base)
    config = config_of("sgpo", student, steps)
    rollouts = config.autonomous_rollouts + config.guided_rollouts
    names = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    lines = ["# GRPO and SGPO on mini-GSM", *([f"`{command}`"] if command else [])]
    lines += [
        summary(rows),
        f"Both methods train for {config.steps} steps of {config.problems_per_step} problems with "
        f"{rollouts} rollouts each ({names}). Greedy accuracy in percent, without a strategy "
        "except in the last line; in brackets, and over families, 95 % intervals.",
        outcome_table(rows, ceilings_of(student).get("greedy", {})),
    ]
    if len(seeds) == 1:
        lines.append(
            "**This is one seed.** Another would give other numbers, and an interval over families "
            "does not cover that. The README has five seeds and three students under Results."
        )
    captions = {
        "accuracy_by_step": "Accuracy on `validation` during training.",
        "weights": "The two pass rates and the weight α, which falls as the student learns.",
        "gain_by_verb": "Greedy accuracy on the chains of `test` whose plan uses a verb, before "
        "and after training; verbs ordered by the base student's accuracy.",
        "token_kl": "How much the strategy shifts the base student: KL at each token.",
    }
    lines += [f"![{text}](figures/{name}.png)\n\n*{text}*" for name, text in captions.items()]
    lines.append(f"Time: {time.perf_counter() - begin:.0f} s in this call; one thread a run.")
    text = "\n\n".join(lines) + "\n"
    write_whole(out / "report.md", text)
    return text


def summary(rows: Sequence[dict]) -> str:
    """What the table shows, in one or two sentences that are computed from it."""
    greedy = {row["split"]: row for row in rows if row["measure"] == "greedy"}
    row = greedy["test"]
    first, second = (100 * mean(row[name]) for name in methods_of(rows))
    interval = row["over seeds"] or row["over families"]
    over = "seeds" if row["over seeds"] else "families"
    ahead, behind = (
        [
            f"`{split}`"
            for split in TRANSFER_SPLITS
            if sign * (greedy[split]["over seeds"] or greedy[split]["over families"])[end] > 0
        ]
        for sign, end in ((1, 0), (-1, 1))
    )
    verdict = "an interval that allows both signs"
    if interval[0] > 0 or interval[1] < 0:
        verdict = "an interval that excludes 0"
    text = (
        f"Before training the student solves {100 * row['base']:.1f} % of `test`, where chance is "
        f"{100 * row['chance']:.1f} %; after GRPO {first:.1f} %, after SGPO {second:.1f} %. SGPO "
        f"minus GRPO is {told(row['difference'], interval)} points over {over}, {verdict}."
    )
    for splits, where in ((ahead, "above"), (behind, "below")):
        if splits:
            text += f" The difference is clearly {where} 0 on {' and '.join(splits)} too."
    if not ahead and not behind:
        text += " It is clear on none of the transfer splits."
    return text


def draw_figures(figures: Path, student: str, runs: dict[str, PackedRun], base: PackedRun) -> None:
    """Draw the four figures of the report from one run of each method."""
    figures.mkdir(exist_ok=True)
    curves = {method: accuracy_curve(run, base) for method, run in runs.items()}
    plots.save(plots.accuracy_by_step(curves), figures / "accuracy_by_step.png")
    plots.save(plots.weights_by_step(runs["sgpo"].metrics), figures / "weights.png")
    after = {method: accuracy_by_verb([run]) for method, run in runs.items()}
    figure = plots.gain_by_group(accuracy_by_verb([base]), after, "verb")
    plots.save(figure, figures / "gain_by_verb.png")
    tokens, kl = token_kl_example(load_student(student))
    delta = runs["sgpo"].asked["config"]["delta"]
    plots.save(plots.token_kl_strip(tokens, kl, delta), figures / "token_kl.png")


def token_kl_example(student: Student) -> tuple[list[str], list[float]]:
    """The tokens of one guided completion and the KL in nats at each.

    The problem is the first story of `test` with a sentence that plays no part that the student
    solves with its strategy.
    """
    problems = [p for p in make_problems("test") if "Ignore" in p.strategy][:20]
    solved = evaluate(student, problems, guided=True, max_new_tokens=MAX_NEW_TOKENS)
    right = [p for p, row in zip(solved.problems, solved.correct, strict=True) if row[0]]
    problem = (right or problems)[0]
    guided = [student.prompt_ids(problem.question, problem.strategy)]
    rollouts = sample(student, guided, 1, max_new_tokens=MAX_NEW_TOKENS, temperature=0.0)
    with torch.no_grad():
        kl = strategy_kl(student, guided, [student.prompt_ids(problem.question)], rollouts)
    inside = rollouts.mask[0].bool()
    tokens = [student.tokenizer.decode([token]) for token in rollouts.tokens[0][inside].tolist()]
    return tokens, kl[0][inside].tolist()

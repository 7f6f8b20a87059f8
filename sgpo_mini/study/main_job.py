"""The main job: train with GRPO and SGPO from the same student, evaluate both, write a report."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from .. import plots
from ..evaluation import evaluate
from ..mini_gsm.pretraining import MAX_NEW_TOKENS
from ..mini_gsm.world import make_problems
from ..rollout import sample, strategy_kl
from ..student import Student, load_student
from ..support.files import read_rows, write_whole
from .evaluations import SURE_AND_WRONG, base_difficulty, hard_families, read_answers
from .rows import on_mini_gsm
from .runs import EVALUATED, compare
from .tables import Read, accuracy_curve, comparison_rows, family_means
from .transfer_table import transfer_table

METHODS_COMPARED = ("grpo", "sgpo")  # differences are last minus first


def run_and_report(
    out: str | Path,
    *,
    student: str = "tiny",
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    methods: Sequence[str] = METHODS_COMPARED,
    command: str = "",
) -> str:
    """Train each method with each seed, evaluate on every split, and write `report.md`.

    Returns the report's text. One seed shows how the methods work; comparing them takes several.
    `command` is the command that the report shows. Raises ValueError, before anything starts, if
    the student has no `measured.json` or `compare` refuses the configurations.
    """
    out = Path(out)
    begin = time.perf_counter()
    hard = hard_families(student)
    configs = {method: on_mini_gsm({"method": method}, student, steps) for method in methods}
    compare(configs, seeds, out, EVALUATED)
    rows = comparison_rows(_reader(out), methods, seeds, EVALUATED, hard)
    write_whole(out / "comparison.json", json.dumps(rows, indent=1) + "\n")
    draw_figures(out, student, methods, seeds[0], configs[methods[-1]].delta)
    lines = ["# " + " and ".join(m.upper() for m in methods) + " on mini-GSM", ""]
    lines += [f"`{command}`", ""] if command else []
    rollouts = configs[methods[0]].autonomous_rollouts + configs[methods[0]].guided_rollouts
    how_many = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    lines += [
        f"{how_many.capitalize()} ({', '.join(map(str, seeds))}), "
        f"{configs[methods[0]].steps} steps of {configs[methods[0]].problems_per_step} problems "
        f"with {rollouts} rollouts each, for every method. Accuracy of greedy decoding in percent, "
        "with 95 % "
        + (
            "intervals over problems."
            if len(seeds) == 1
            else "t intervals over seeds (for the base student, over problems)."
        ),
        "",
        transfer_table(rows, ("base", *methods), difference=f"{methods[-1]} - {methods[0]}"),
        "",
        "Hard families (the base student solves at most one in ten, 16 samples per problem on "
        f"`validation`): {', '.join(sorted(hard)) or 'none'}. The sure and wrong families "
        f"({', '.join(sorted(SURE_AND_WRONG))}) are left out of every average.",
        "",
    ]
    if len(seeds) == 1:
        lines += [
            "**This is one seed.** Another seed would give other numbers, and these intervals do "
            "not cover that. The table over five seeds is in the project's README, under Results.",
            "",
        ]
    captions = {
        "accuracy_by_step": "Accuracy on `validation` during training.",
        "weights": "The two pass rates and the weight α, which falls as the student learns.",
        "gain_by_difficulty": "Gain by family: accuracy of greedy decoding on `test`, before and "
        "after training; families ordered by the base student's accuracy on `validation`.",
        "token_kl": "How much the strategy shifts the base student: KL at each token.",
    }
    lines += [f"![{text}](figures/{name}.png)\n\n*{text}*\n" for name, text in captions.items()]
    lines += [f"Time: {time.perf_counter() - begin:.0f} s in this call; each run has one thread."]
    text = "\n".join(lines) + "\n"
    write_whole(out / "report.md", text)
    return text


def draw_figures(
    out: Path, student_name: str, methods: Sequence[str], seed: int, delta: float | None
) -> None:
    """Draw the four figures of the report from the runs of one seed."""
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    read = _reader(out)
    runs = {method: f"{method}-{seed}" for method in methods}
    logs = {method: read_rows(out / run / "metrics.jsonl") for method, run in runs.items()}
    before = read("base", "validation", False)
    curves = {
        method: accuracy_curve(logs[method], before, read(run, "validation", False))
        for method, run in runs.items()
    }
    plots.save(plots.accuracy_by_step(curves), figures / "accuracy_by_step.png")
    plots.save(plots.weights_by_step(logs[methods[-1]]), figures / "weights.png")
    base = family_means([read("base", "test", False)])
    after = {method: family_means([read(run, "test", False)]) for method, run in runs.items()}
    figure = plots.gain_by_difficulty(base_difficulty(student_name), base, after, SURE_AND_WRONG)
    plots.save(figure, figures / "gain_by_difficulty.png")
    tokens, kl = token_kl_example(load_student(student_name))
    plots.save(plots.token_kl_strip(tokens, kl, delta), figures / "token_kl.png")


def _reader(out: Path) -> Read:
    return lambda run, split, guided: read_answers(out / run, split, guided)


def token_kl_example(student: Student) -> tuple[list[str], list[float]]:
    """The tokens of one guided completion and the KL in nats at each.

    The problem is the first four-step story of `test` that the student solves with its strategy.
    """
    problems = [p for p in make_problems("test") if len(p.plan) == 4]
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

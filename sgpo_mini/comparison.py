"""The whole comparison: rows of `rows.ROWS` over seeds, in one table with its figures."""

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from . import plots
from .checkpoints import read_rows
from .compare import (
    EVALUATED,
    SURE_AND_WRONG,
    base_difficulty,
    compare,
    comparison_rows,
    hard_families,
    mean,
    read_answers,
)
from .evaluation import transfer_table
from .rows import BASELINE, ROWS, config_of
from .strategy_use import family_plans, measure_use, plan_confusion

FIGURES = {
    "accuracy": "Accuracy on `validation` while training; band: 95 % t interval over seeds.",
    "entropy": "Entropy of the policy on its own solutions (mean of 10 steps).",
    "alpha": "The weight α of the strategy's KL (mean of 10 steps).",
    "gain": "Where the gain is: families of `test` by how often the base student solves them.",
}


def run_comparison(
    out: str | Path,
    methods: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    student: str = "tiny",
    command: str = "",
) -> str:
    """Run what is not yet there of the rows, and write table, figures and logs; the report's text.

    The baseline is run too, for the differences. Raises ValueError, before anything starts, for an
    unknown row or where `compare` refuses.
    """
    out = Path(out)
    names = [BASELINE, *(name for name in dict.fromkeys(methods) if name != BASELINE)]
    configs = {name: config_of(name, student, steps) for name in names}
    hard = hard_families(student)
    try:
        compare(configs, seeds, out, EVALUATED)
    finally:  # also of a comparison that was stopped
        pack_logs(out, names, seeds)
    rows = comparison_rows(out, names, seeds, EVALUATED, hard)
    (out / "comparison.json").write_text(json.dumps(rows, indent=1) + "\n")
    costs = training_costs(out, names, seeds)
    (out / "costs.json").write_text(json.dumps(costs, indent=1) + "\n")
    pictures = draw_figures(out, student, names, seeds)
    text = _report(rows, costs, names, seeds, command, hard)
    text += _use_of_strategies(out, names, seeds)
    text += "".join(f"\n![{told}](figures/{name}.png)\n\n*{told}*\n" for name, told in pictures)
    (out / "report.md").write_text(text)
    return text


def pack_logs(out: Path, names: Sequence[str], seeds: Sequence[int]) -> None:
    """Copy the log of every finished run to out/logs/NAME-SEED.jsonl.gz, equal for equal runs."""
    for name in [f"{name}-{seed}" for name in names for seed in seeds]:
        log = out / name / "metrics.jsonl"
        if (out / name / "evaluated.json").exists():
            (out / "logs").mkdir(exist_ok=True)
            packed = gzip.compress(log.read_bytes(), mtime=0)  # without the time of writing
            (out / "logs" / f"{name}.jsonl.gz").write_bytes(packed)


def training_costs(out: Path, names: Sequence[str], seeds: Sequence[int]) -> dict[str, dict]:
    """Means over seeds of a run's sampled tokens, learnt tokens of given solutions, and seconds.

    Seconds are those of the training steps, without evaluation.
    """
    costs = {}
    for name in names:
        runs = [out / f"{name}-{seed}" for seed in seeds]
        times = [read_rows(run / "timings.jsonl") for run in runs]
        logs = [read_rows(run / "metrics.jsonl") for run in runs]
        costs[name] = {
            "sampled tokens": mean([sum(row["sampled_tokens"] for row in run) for run in times]),
            "given tokens": mean([sum(row.get("given_tokens", 0) for row in run) for run in logs]),
            "seconds": mean([sum(row["seconds"] for row in run) for run in times]),
        }
    return costs


def _report(
    rows: list[dict],
    costs: dict[str, dict],
    names: Sequence[str],
    seeds: Sequence[int],
    command: str,
    hard: set[str],
) -> str:
    over = "seeds" if len(seeds) > 1 else "problems (one seed: another would give other numbers)"
    about = {"base": "the shipped student; guided: the ceiling"}
    more = {"what it is": about | {name: ROWS[name].about for name in names}}
    for title in ("sampled tokens", "given tokens", "seconds"):
        more[title] = {name: f"{costs[name][title]:,.0f}" for name in names}
    table = transfer_table(rows, ["base", *names], by_student=True, more=more)
    return "\n".join(
        [
            "# Methods, ablations and controls on mini-GSM",
            "",
            *([f"`{command}`", ""] if command else []),
            f"Seeds {', '.join(map(str, seeds))}. Greedy answers, percent right, 95 % intervals "
            f"over {over}, for the base student over problems; second line: difference to "
            f"`{BASELINE}`, paired. The base student's guided line is the ceiling: the strategy in "
            "the prompt at inference, nothing trained. Tokens and seconds are of one run's "
            "training.",
            "",
            table,
            "",
            f"Hard families: {', '.join(sorted(hard)) or 'none'}. Sure and wrong, in no average: "
            f"{', '.join(sorted(SURE_AND_WRONG))}.",
            "",
        ]
    )


def _use_of_strategies(out: Path, names: Sequence[str], seeds: Sequence[int]) -> str:
    """The table of plan and calculation accuracy on `test`, unguided."""
    lines = [
        "\n## Did it use the strategy?\n",
        "Unguided solutions of `test`, all seeds, without the sure and wrong families.\n",
    ]
    lines += ["| student | right plan | right answer given the right plan | no plan readable |"]
    lines += ["| --- | --- | --- | --- |"]
    for name in ("base", *names):
        use = [measure_use(run, SURE_AND_WRONG) for run in _answers(out, name, seeds)]
        cells = [mean([u.plan_accuracy for u in use])]
        known = [u.calculation_accuracy for u in use if u.calculation_accuracy is not None]
        cells += [mean(known) if known else None, mean([u.unreadable for u in use])]
        told = ["—" if cell is None else f"{100 * cell:.1f}" for cell in cells]
        lines.append(f"| {' | '.join([name, *told])} |")
    return "\n".join(lines) + "\n"


def _answers(out: Path, name: str, seeds: Sequence[int]) -> list:
    folders = [out / "base"] if name == "base" else [out / f"{name}-{seed}" for seed in seeds]
    return [read_answers(folder, "test", False) for folder in folders]


def draw_figures(
    out: Path, student: str, names: Sequence[str], seeds: Sequence[int]
) -> list[tuple[str, str]]:
    """Draw the figures of every group of rows, and the confusion of plans: (name, caption) each."""
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    logs = {
        name: [read_rows(out / f"{name}-{seed}" / "metrics.jsonl") for seed in seeds]
        for name in names
    }
    drawn = []

    def draw(name: str, figure, caption: str) -> None:
        plots.save(figure, figures / f"{name}.png")
        drawn.append((name, caption))

    before = base_difficulty(student)
    gained = {name: _by_family(_answers(out, name, seeds)) for name in names}
    for group in dict.fromkeys(ROWS[name].group for name in names):
        # Ablations and controls are read against SGPO and the baseline, where these were run.
        shown = [n for n in names if ROWS[n].group == group or n in (BASELINE, "sgpo")]
        for kind, (field, smooth) in {
            "accuracy": ("validation_accuracy", 1),
            "entropy": ("entropy", plots.SMOOTHING_STEPS),
            "alpha": ("alpha", plots.SMOOTHING_STEPS),
        }.items():
            curves = {name: _curves(logs[name], field) for name in shown}
            # GRPO's α is 0 throughout; SFT has no entropy of its own solutions.
            curves = {
                n: c for n, c in curves.items() if any(value for run in c for _, value in run)
            }
            if curves:
                figure = plots.bands_by_step(curves, _LABELS[kind], smooth)
                draw(f"{kind}-{group}", figure, f"{FIGURES[kind]} Rows: {group}s.")
        after = {name: gained[name] for name in shown}
        figure = plots.gain_by_difficulty(before, after, SURE_AND_WRONG)
        draw(f"gain-{group}", figure, f"{FIGURES['gain']} Rows: {group}s.")
    for name in [n for n in ("base", BASELINE, "sgpo") if n == "base" or n in names]:
        counts = _sum_of([plan_confusion(run) for run in _answers(out, name, seeds)])
        figure = plots.plan_confusion(counts, family_plans(), title=f"Plans of {name}, unguided")
        draw(f"plans-{name}", figure, f"Which plan the unguided solutions of `test` use: {name}.")
    return drawn


_LABELS = {
    "accuracy": "share of right answers",
    "entropy": "entropy (nats a token)",
    "alpha": "weight α (no unit)",
}


def _curves(logs: list[list[dict]], field: str) -> list[list[tuple[int, float]]]:
    """(step, value) of each run's log, where it has one."""
    return [[(r["step"], r[field]) for r in rows if r.get(field) is not None] for rows in logs]


def _by_family(runs: list) -> dict[str, float]:
    return {
        family: mean([mean(run.by_family()[family]) for run in runs])
        for family in runs[0].by_family()
    }


def _sum_of(tables: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {}
    for table in tables:
        for family, row in table.items():
            total.setdefault(family, Counter()).update(row)
    return total

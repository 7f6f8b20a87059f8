"""The tables of the comparison in the next world: two methods from one student, split by split.

Two kinds of intervals stand beside a difference: over seeds (another run) and over families (other
chains of the same kind). A measure is the greedy accuracy, avg@4 (the mean probability of a right
answer), the probability of the true plan, or the greedy accuracy with strategies.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from ..mini_gsm_next.plans import fitting_plans
from ..mini_gsm_next.world import TRANSFER_SPLITS, families_of
from ..support.files import read_json
from ..support.intervals import confidence_interval, mean_difference
from .evaluations import mean
from .next_rows import EVALUATED
from .packed_runs import MEND, PackedRun
from .sampled import SAMPLES
from .transfer_table import markdown

MEASURES = {
    "greedy": "greedy accuracy",
    "sampled": f"mean probability of a right answer (avg@{SAMPLES})",
    "true plan": "probability of the true plan",
    "guided": "greedy accuracy with the strategy",
}


def by_family(run: PackedRun, split: str, measure: str) -> dict[str, float]:
    """The mean of a measure on each family of a split."""
    problems = run.answers[split, False].problems
    if measure in ("greedy", "guided"):
        values = run.answers[split, measure == "guided"].accuracies
    elif measure == "sampled":
        values = [right / SAMPLES for right in run.sampled[split]["right"]]
    else:
        values = run.sampled[split]["true plan"]
    families: dict[str, list[float]] = {}
    for problem, value in zip(problems, values, strict=True):
        families.setdefault(problem.family, []).append(value)
    return {name: mean(told) for name, told in families.items()}


def compared(runs: dict[str, list[PackedRun]], base: PackedRun) -> list[dict]:
    """One row for each split and measure: base, both methods, and second minus first.

    `runs` has two methods with runs of the same seeds, in order. The mean counts every family once.
    "over seeds" has the interval of the difference over seeds (t), "over families" over families
    (bootstrap, each family's difference averaged over seeds); "without the best two" is the
    difference without the two families in which it is largest.
    """
    (first, _), rows = runs, []
    for split in EVALUATED:
        chance = mean([1 / len(fitting_plans(f.shape)) for f in families_of(split)])
        for measure in MEASURES:
            means_of = {
                name: [by_family(run, split, measure) for run in runs[name]] for name in runs
            }
            means = {name: [mean(list(run.values())) for run in means_of[name]] for name in runs}
            gaps = [b - a for a, b in zip(*means.values(), strict=True)]
            families = [
                mean([b[f] - a[f] for a, b in zip(*means_of.values(), strict=True)])
                for f in means_of[first][0]
            ]
            rows.append(
                {
                    "split": split,
                    "measure": measure,
                    "families": len(families),
                    "chance": chance,
                    "base": mean(list(by_family(base, split, measure).values())),
                    **means,
                    "difference": mean(gaps),
                    "over seeds": confidence_interval(gaps, over="seeds"),
                    "over families": mean_difference(families)[1],
                    "without the best two": mean(sorted(families)[:-2]),
                }
            )
    return rows


def methods_of(rows: Sequence[dict]) -> list[str]:
    """The two methods of rows that `compared` made: they alone have a value a seed."""
    return [name for name, value in rows[0].items() if isinstance(value, list)]


def transfer_ratios(rows: Sequence[dict], measure: str = "greedy") -> dict[str, dict]:
    """{method: {split: gain on a transfer split over the gain on `test`, a value a seed}}.

    The gain is over the student before training.
    """
    told = {row["split"]: row for row in rows if row["measure"] == measure}
    ratios: dict[str, dict] = {}
    for name in methods_of(rows):
        gains = {s: [v - row["base"] for v in row[name]] for s, row in told.items()}
        pairs = {s: zip(gains[s], gains["test"], strict=True) for s in TRANSFER_SPLITS}
        ratios[name] = {s: [a / b if b else math.nan for a, b in pairs[s]] for s in pairs}
    return ratios


def ratio_table(ratios: dict[str, dict]) -> str:
    """`transfer_ratios` as a Markdown table, with intervals over seeds."""
    lines = [["gain on the split / gain on `test`", *(f"`{s}`" for s in TRANSFER_SPLITS)]]
    for name, by_split in ratios.items():
        cells = []
        for values in by_split.values():
            low, high = confidence_interval(values, over="seeds")
            cells.append(f"{mean(values):.2f} ({low:.2f} to {high:.2f})")
        lines.append([name, *cells])
    return markdown(lines)


def table(rows: Sequence[dict], measure: str, ceilings: dict[str, float] | None = None) -> str:
    """The rows of a measure as a Markdown table, in percent."""
    first, second = methods_of(rows)
    title = f"{second} - {first}"
    head = ["split (families)", "chance", "base", first, second, title, "over families", "ceiling"]
    lines = [head]
    for row in (row for row in rows if row["measure"] == measure):
        ceiling = (ceilings or {}).get(row["split"])
        low, high = (100 * value for value in row["over families"])
        lines.append(
            [
                f"`{row['split']}` ({row['families']})",
                f"{100 * row['chance']:.1f}",
                f"{100 * row['base']:.1f}",
                f"{100 * mean(row[first]):.1f}",
                f"{100 * mean(row[second]):.1f}",
                told(row["difference"], row["over seeds"]),
                f"{low:+.1f} to {high:+.1f}",
                "—" if ceiling is None else f"{100 * ceiling:.1f}",
            ]
        )
    return markdown(lines)


def by_step(runs: dict[str, list[PackedRun]]) -> dict[str, dict]:
    """Greedy accuracy on `validation` during training, {method: {step: [a value a seed]}}."""
    key, found = "validation_accuracy", {}
    for name in runs:
        logs = [run.metrics for run in runs[name]]
        steps = [row["step"] for row in logs[0] if row.get(key) is not None]
        found[name] = {step: [log[step - 1][key] for log in logs] for step in steps}
    return found


def step_table(found: dict[str, dict]) -> str:
    """`by_step` as a Markdown table, in percent, with the second minus the first method."""
    first, second = found
    lines = [["step", first, second, f"{second} - {first}"]]
    for step in found[first]:
        pair = found[first][step], found[second][step]
        gaps = [b - a for a, b in zip(*pair, strict=True)]
        cells = [f"{100 * mean(values):.1f}" for values in pair]
        lines.append([str(step), *cells, told(mean(gaps), confidence_interval(gaps, over="seeds"))])
    return markdown(lines)


def told(value: float, interval: tuple[float, float]) -> str:
    """A difference and its 95 % interval, in points."""
    low, high = interval
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def seconds(folder: Path, name: str, seeds: Sequence[int]) -> float:
    """The mean training time of a row's runs, in seconds of one core."""
    times = read_json(folder / "timings.json", MEND)
    return mean([times[f"{name}-{seed}"]["seconds"] for seed in seeds])

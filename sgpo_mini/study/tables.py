"""The tables of a comparison, from its runs: split by split, and two methods side by side.

Every mean counts each family once. Two kinds of intervals stand beside a difference: over seeds
(another run) and over families (other chains of the same kind).
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ..mini_gsm.plans import fitting_plans
from ..mini_gsm.world import TRANSFER_SPLITS, families_of
from ..support.files import read_json
from ..support.intervals import confidence_interval, mean_difference
from ..support.markdown import markdown
from .evaluations import mean
from .packed_runs import MEND, PackedRun
from .rows import EVALUATED
from .sampled import SAMPLES

MEASURES = {
    "greedy": "greedy accuracy",
    "sampled": f"mean probability of a right answer (avg@{SAMPLES})",
    "true plan": "probability of the true plan",
    "guided": "greedy accuracy with the strategy",
}
CEILINGS = Path(__file__).parents[1] / "results" / "ceilings.json"
Values = dict[str, float]  # by family


def by_family(run: PackedRun, split: str, measure: str) -> Values:
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


def accuracy(run: PackedRun, split: str, measure: str = "greedy") -> float:
    """The mean of a measure over the families of a split."""
    return mean(list(by_family(run, split, measure).values()))


@cache
def chance_of(split: str) -> float:
    """How often a plan drawn from those that fit is the true one, on average over the families."""
    return mean([1 / len(fitting_plans(family.shape)) for family in families_of(split)])


def ceilings_of(student: str) -> dict[str, dict[str, float]]:
    """The ceilings {measure: {split: value}}; they were measured from the shipped student alone."""
    if student not in ("tiny", "student-0"):
        return {}
    measured = read_json(CEILINGS, "run tests/benchmarks/ceilings.py again")["splits"]
    names = {"greedy": "ceiling", "sampled": "ceiling avg@16"}
    found = {m: {s: row[key][0] for s, row in measured.items()} for m, key in names.items()}
    for ceilings in found.values():
        ceilings["test"] = ceilings["validation"]  # the same kind of chains
    return found


def compared(runs: dict[str, list[PackedRun]], base: PackedRun) -> list[dict]:
    """One row for each split and measure: base, both methods, and second minus first.

    `runs` has two methods with runs of the same seeds, in order. "over seeds" has the interval of
    the difference over seeds (t; None with one seed), "over families" over families (bootstrap,
    each family's difference averaged over seeds); "without the best two" is the difference without
    the two families in which it is largest.
    """
    (first, _), rows = runs, []
    for split in EVALUATED:
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
                    "chance": chance_of(split),
                    "base": accuracy(base, split, measure),
                    **means,
                    "difference": mean(gaps),
                    "over seeds": over_seeds(gaps),
                    "over families": mean_difference(families)[1],
                    "without the best two": mean(sorted(families)[:-2]),
                }
            )
    return rows


def over_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """The interval over seeds; None with one seed, which has none."""
    return confidence_interval(values, over="seeds") if len(values) > 1 else None


def methods_of(rows: Sequence[dict]) -> list[str]:
    """The two methods of rows that `compared` made: they and the intervals have several values."""
    lists = [name for name, value in rows[0].items() if isinstance(value, list | tuple)]
    return [name for name in lists if not name.startswith("over ")]


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
    rows = [row for row in rows if row["measure"] == measure]
    return markdown([_head(rows), *(_line(row, ceilings or {}) for row in rows)])


def outcome_table(rows: Sequence[dict], ceilings: dict[str, float]) -> str:
    """The table that the main job prints: greedy accuracy on each split, and guided on `test`."""
    chosen = [r for r in rows if r["measure"] == "greedy" and r["split"] != "validation"]
    lines = [_head(rows), *(_line(row, ceilings) for row in chosen)]
    (guided,) = (r for r in rows if r["measure"] == "guided" and r["split"] == "test")
    lines.append(_line(guided, {}, ", with the strategy"))
    return markdown(lines)


def _head(rows: Sequence[dict]) -> list[str]:
    first, second = methods_of(rows)
    gap = f"{second} - {first}"
    over = [gap, "over families"] if rows[0]["over seeds"] else [f"{gap}, over families"]
    return ["split (families)", "chance", "base", first, second, *over, "ceiling"]


def _line(row: dict, ceilings: dict[str, float], prompt: str = "") -> list[str]:
    ceiling = ceilings.get(row["split"])
    if row["over seeds"]:
        low, high = (100 * value for value in row["over families"])
        gaps = [told(row["difference"], row["over seeds"]), f"{low:+.1f} to {high:+.1f}"]
    else:
        gaps = [told(row["difference"], row["over families"])]
    return [
        f"`{row['split']}`{prompt} ({row['families']})",
        f"{100 * row['chance']:.1f}",
        f"{100 * row['base']:.1f}",
        *(f"{100 * mean(row[name]):.1f}" for name in methods_of([row])),
        *gaps,
        "—" if ceiling is None else f"{100 * ceiling:.1f}",
    ]


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


def told(value: float, interval: tuple[float, float] | None) -> str:
    """A difference and its 95 % interval, in points."""
    if interval is None:
        return f"{100 * value:+.1f}"
    low, high = interval
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def seconds(folder: Path, name: str, seeds: Sequence[int]) -> float:
    """The mean training time of a row's runs, in seconds of one core."""
    times = read_json(folder / "timings.json", MEND)
    return mean([times[f"{name}-{seed}"]["seconds"] for seed in seeds])

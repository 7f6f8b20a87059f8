"""The rows of a table from the answers of runs: means, intervals, and paired differences."""

from collections.abc import Callable, Sequence

from ..evaluation import Evaluation
from ..mini_gsm.world import make_problems
from ..support.intervals import confidence_interval, mean_difference
from .evaluations import SURE_AND_WRONG, mean, values_of

Read = Callable[[str, str, bool], Evaluation]  # (run, split, guided); a run: "base" or "NAME-SEED"
Estimate = tuple[float, tuple[float, float]]  # a mean and its 95 % interval


def comparison_rows(
    read: Read, names: Sequence[str], seeds: Sequence[int], splits: Sequence[str], hard: set[str]
) -> list[dict]:
    """One row per group of families and prompt: base, each method, and each minus the first.

    With several seeds: means with t intervals over seeds, and differences paired by seed. With one
    seed: intervals over problems, and differences paired by problem. The base student's intervals
    are always over problems. "difference" is that of the last method.
    """
    rows = []
    for split in splits:
        for guided in (False, True):
            base = read("base", split, guided)
            runs = {
                name: [read(f"{name}-{seed}", split, guided) for seed in seeds] for name in names
            }
            for label, families in family_groups(split, hard).items():
                values = {
                    name: [values_of(run, families) for run in runs[name]] for name in names
                }  # (seeds, problems)
                base_values = values_of(base, families)
                row = {"label": label, "guided": guided, "problems": len(base_values)}
                row["base"] = estimate([base_values])
                row |= {name: estimate(values[name]) for name in names}
                gaps = {name: difference(values[names[0]], values[name]) for name in names[1:]}
                if gaps:
                    row["differences"] = gaps
                    row["difference"] = gaps[names[-1]]
                if len(seeds) > 1:
                    means = {name: [mean(run) for run in values[name]] for name in names}
                    row["accuracy_per_seed"] = means
                    if gaps:
                        pairs = zip(means[names[0]], means[names[-1]], strict=True)
                        row["per_seed"] = [second - first for first, second in pairs]
                rows.append(row)
    return rows


def family_groups(split: str, hard: set[str]) -> dict[str, set[str]]:
    """The rows of a split: all but the sure and wrong families; the hard; the sure and wrong."""
    families = {problem.family for problem in make_problems(split)}
    groups = {split: families - SURE_AND_WRONG}
    if hard & families:
        groups[f"{split}, hard families"] = hard & families
    if SURE_AND_WRONG & families:
        groups[f"{split}, sure and wrong"] = SURE_AND_WRONG & families
    return groups


def fair_accuracy(evaluation: Evaluation) -> float:
    """Accuracy without the sure and wrong families, as training measures it on `validation`."""
    return mean(values_of(evaluation, set(evaluation.by_family()) - SURE_AND_WRONG))


def family_means(runs: Sequence[Evaluation]) -> dict[str, float]:
    """The accuracy of each family, averaged over runs."""
    by_family = [run.by_family() for run in runs]
    return {name: mean([mean(run[name]) for run in by_family]) for name in by_family[0]}


def accuracy_curve(
    metrics: Sequence[dict], before: Evaluation, after: Evaluation, early_stop: int = 0
) -> list[tuple[int, float]]:
    """(step, accuracy on validation) pairs of a run, from the base to the trained student.

    With early stopping the final weights are those of an earlier step, which was measured already.
    """
    points = {0: fair_accuracy(before)}
    measured = {r["step"]: r["validation_accuracy"] for r in metrics if "validation_accuracy" in r}
    points |= measured
    if not (early_stop and measured):
        points[metrics[-1]["step"]] = fair_accuracy(after)
    return sorted(points.items())


def estimate(values: Sequence[Sequence[float]]) -> Estimate:
    """The mean of shares, (seeds, problems), and its interval, cut to 0 and 1.

    A t interval over seeds; with one seed, an interval over problems.
    """
    if len(values) == 1:
        return mean(values[0]), confidence_interval(values[0])
    means = [mean(run) for run in values]
    low, high = confidence_interval(means, over="seeds")
    return mean(means), (max(low, 0.0), min(high, 1.0))


def difference(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> Estimate:
    """second - first, both (seeds, problems), paired by seed; with one seed, by problem."""
    if len(first) == 1:
        return mean_difference([b - a for a, b in zip(first[0], second[0], strict=True)])
    gaps = [mean(b) - mean(a) for a, b in zip(first, second, strict=True)]
    return mean(gaps), confidence_interval(gaps, over="seeds")


def told_differences(rows: Sequence[dict]) -> tuple[int, int]:
    """How many differences from the first method the rows have, and how many exclude 0.

    An interval without width (all seeds equal) does not count as excluding 0.
    """
    intervals = [interval for r in rows for _, interval in r.get("differences", {}).values()]
    clear = [low > 0 or high < 0 for low, high in intervals if high - low > 1e-9]
    return len(intervals), sum(clear)

"""95 % intervals of a mean: over the problems of one run, or over the seeds of several."""

import math
import random
from collections.abc import Sequence

# 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom (any statistics table).
_T_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_NORMAL_QUANTILE = 1.960


def confidence_interval(
    values: Sequence[float], over: str = "problems", seed: int = 0
) -> tuple[float, float]:
    """A 95 % confidence interval of the mean of `values`.

    over="problems": accuracies by problem in one run, or their differences between two students (a
    paired comparison). Percentile bootstrap over problems. If all values are 0 or all are 1, the
    bootstrap would have zero width, so we use Wilson's score interval.
    over="seeds": one value or difference per seed, at least two. Student's t interval.
    """
    count = len(values)
    if not count:
        raise ValueError("an interval needs at least one value")
    mean = sum(values) / count
    if over == "seeds":
        if count < 2:
            raise ValueError("an interval over seeds needs at least two values")
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
        quantile = _T_QUANTILES[count - 2] if count <= 31 else _NORMAL_QUANTILE
        half = quantile * deviation / math.sqrt(count)
        return mean - half, mean + half
    if over != "problems":
        raise ValueError(f"over must be 'problems' or 'seeds', not {over!r}")
    if all(value == values[0] for value in values) and values[0] in (0.0, 1.0):
        centre = (mean + _NORMAL_QUANTILE**2 / (2 * count)) / (1 + _NORMAL_QUANTILE**2 / count)
        half = (_NORMAL_QUANTILE**2 / (2 * count)) / (1 + _NORMAL_QUANTILE**2 / count)
        return max(centre - half, 0.0), min(centre + half, 1.0)
    generator = random.Random(seed)
    means = sorted(sum(generator.choices(values, k=count)) / count for _ in range(1000))
    return means[24], means[974]


def clustered_interval(clusters: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float]:
    """A 95 % interval of the mean of all values, where those of a cluster depend on each other.

    Percentile bootstrap over clusters of any sizes, such as the families of problems. If all values
    are 0 or all are 1, Wilson's interval of as many values as there are clusters.
    """
    means = [sum(values) / len(values) for values in clusters]
    if all(mean == means[0] for mean in means) and means[0] in (0.0, 1.0):
        return confidence_interval(means)
    generator = random.Random(seed)
    sums = [(sum(values), len(values)) for values in clusters]
    drawn = [generator.choices(sums, k=len(sums)) for _ in range(1000)]
    pooled = sorted(sum(s for s, _ in some) / sum(n for _, n in some) for some in drawn)
    return pooled[24], pooled[974]


def mean_difference(differences: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The mean difference of two students over problems, with its 95 % interval.

    If the two agree on every problem, Wilson's upper bound on the share of problems where they
    could still differ is the interval's half-width.
    """
    if not any(differences):
        _, bound = confidence_interval(differences)
        return 0.0, (-bound, bound)
    return sum(differences) / len(differences), confidence_interval(differences)

"""The checks of notebook 07: the total loss of a batch, and reading a run's log."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .checking import Wrong, all_equal, answer_of, exercise, gradients_of, number_of, numbers_of


@exercise
def check_joined_loss(function: Callable) -> str:
    """Exercise: L of a batch, `f(explored (P,), distilled (B,), rows (B,), alpha (P,))`.

    The mean over all P problems of L_GRPO + α · L_KD^clip; rows[b] is the problem of target b.
    """
    call = "f(explored, distilled, rows, alpha)"
    explored = torch.tensor([0.2, -0.1, 0.4, 0.3])
    alpha = torch.tensor([0.8, 0.5, 0.3, 0.05])
    for distilled, rows in ((torch.tensor([0.3, 0.6]), [2, 0]), (torch.zeros(0), [])):
        rows = torch.tensor(rows, dtype=torch.long)
        leaves = [x.clone().requires_grad_() for x in (explored, distilled, alpha)]
        told = call if len(rows) else f"{call} without a target (B = 0)"
        with torch.enable_grad():
            answer = answer_of(function, told, leaves[0], leaves[1], rows.clone(), leaves[2])
            hint = "; the mean of nothing is NaN" if not len(rows) else ""
            value = numbers_of(answer, torch.Size([]), told, "for the batch", hint)
            right = (explored.sum() + (alpha[rows] * distilled).sum()) / len(explored)
            if not all_equal(value, right):
                why = _why_not_joined(value, explored, distilled, rows, alpha)
                raise Wrong(f"{told} gave {value.item():.4g}, not {right.item():.4g}; {why}")
            if not value.requires_grad:
                raise Wrong(f"{told} has no gradient; only α must have none")
            gradients = gradients_of(value, tuple(leaves), told)
        if gradients[2].any():
            raise Wrong(f"{told} sends a gradient into α; α is a constant weight: detach it")
        if not all_equal(gradients[0], torch.full((4,), 0.25)):
            raise Wrong(f"{told} is right, but the gradient to L_GRPO is not 1 / P")
        if not all_equal(gradients[1], alpha[rows] / 4):
            raise Wrong(f"{told} is right, but the gradient to L_KD is not α / P")
    return "a mean over all problems; a problem without a target adds 0, and α is a constant"


def _why_not_joined(
    value: Tensor, explored: Tensor, distilled: Tensor, rows: Tensor, alpha: Tensor
) -> str:
    weighted, mean, count = alpha[rows] * distilled, explored.mean(), len(rows)
    few = max(count, 1)
    mistakes = (
        (mean + weighted.sum() / few, "divide by all P problems: one without a target adds 0"),
        (explored.sum() + weighted.sum(), "this is the sum over problems; take the mean"),
        (mean + (alpha[:count] * distilled).sum() / 4, "take the α of each target's own problem: "
         "alpha[rows]"),
        (mean + (alpha[:count] * distilled).sum() / few, "take the α of each target's own problem: "
         "alpha[rows]"),
        (mean + alpha.mean() * distilled.sum() / few, "each problem has its own α; don't "
         "average α"),
        (mean + alpha.mean() * distilled.sum() / 4, "each problem has its own α; don't "
         "average α"),
        (mean + alpha[rows].mean() * distilled.sum() / 4, "each problem has its own α; don't "
         "average α"),
        (mean + distilled.sum() / 4, "α is missing"),
        (mean + distilled.sum() / few, "α is missing, and divide by all P problems"),
        ((explored[rows].sum() + weighted.sum()) / few, "a problem without a target still has its "
         "L_GRPO"),
        ((explored[rows].sum() + weighted.sum()) / 4, "a problem without a target still has its "
         "L_GRPO"),
        ((explored.sum() + weighted.sum()) / few, "divide by all P problems"),
        ((alpha * explored).mean() + weighted.sum() / 4, "α weights only L_KD, not L_GRPO"),
        (((1 - alpha) * explored).mean() + weighted.sum() / 4, "L_GRPO has weight 1, not 1 - α"),
        (weighted.sum() / 4, "L_GRPO is missing"),
        (mean - weighted.sum() / 4, "add the two losses"),
        (mean, "L_KD is missing"),
    )  # fmt: skip
    for mistake, why in mistakes:
        if all_equal(value, mistake):
            return why
    return "it is (Σ L_GRPO + Σ α · L_KD) / P"


@exercise
def check_first_bad_step(function: Callable) -> str:
    """Exercise: the step at which a run went wrong, `f(rows, factor=4.0, patience=3)`; 0 if never.

    It is the first of `patience` consecutive bad rows. A row is bad if `loss` or `gradient_norm` is
    not finite (None in a log that was read back), if `gradient_norm` is 0, or if `entropy` is more
    than `factor` times the first row's or less than that divided by `factor`.
    """
    for log, options, why in _logs():
        told = "".join(f", {name}={value}" for name, value in options.items())
        call = f"f(rows{told})"
        right = _first_bad_step(log, **options)
        answer = answer_of(function, call, [dict(row) for row in log], **options)
        number = number_of(answer, call)
        if number != right:
            raise Wrong(f"{call} gave {number:g}, not {right}; {_why_not_bad(number, log, why)}")
    return "the first of several consecutive bad steps, whatever made them bad"


def _first_bad_step(rows: list[dict], factor: float = 4.0, patience: int = 3) -> int:
    usual, streak = rows[0]["entropy"], 0
    for row in rows:
        numbers = row["loss"], row["gradient_norm"]
        bad = not all(number is not None and math.isfinite(number) for number in numbers)
        bad = bad or row["gradient_norm"] == 0
        if row["entropy"] is not None and usual is not None:
            bad = bad or not usual / factor <= row["entropy"] <= usual * factor
        streak = streak + 1 if bad else 0
        if streak == patience:
            return row["step"] - patience + 1
    return 0


def _logs() -> list[tuple[list[dict], dict, str]]:
    """(rows of an invented run, options, a hint on the likeliest mistake), for each case."""
    nan, inf = math.nan, math.inf
    calm = [0.125, 0.13, 0.12, 0.11, 0.12, 0.1, 0.11, 0.09]
    single = _rows(calm)
    single[3] |= {"loss": nan, "gradient_norm": nan}
    rising = _rows([0.125, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8], first=41)
    return [
        (_rows(calm), {}, "this run is healthy: entropy falls slowly while a student learns"),
        (single, {}, "one bad step may be chance: wait for `patience` of them in a row"),
        (rising, {}, "entropy grew slowly to over 4 times its first value (exactly 4 is not over)"),
        (_rows(calm, gradient_norm=[1, 1, 1, nan, nan, nan, nan, nan]), {},
         "the gradient norm is NaN, and every comparison with NaN is false: use math.isfinite"),
        (_rows(calm, loss=[0.1, 0.1, inf, None, -inf, 0.1, 0.1, 0.1]), {},
         "the loss is not finite three times in a row (a log has None for such a value)"),
        (_rows([0.125, 0.1, 0.05, 0.03, 0.01, 0.01, 0.0, 0.0]), {},
         "entropy collapsed to less than a quarter of its first value"),
        (_rows(calm, gradient_norm=[1, 1, 0, 0, 0, 0, 0, 0]), {},
         "the gradient is exactly 0 in three steps: the student has stopped learning"),
        (_rows(calm, gradient_norm=[1, 0, 0, 1, 0, 0, 0, 0]), {},
         "a good step ends a series of bad ones: start counting again"),
        (_rows(calm, gradient_norm=[1, 1, 1, 1, 1, 1, 0, 0]), {},
         "there are only two bad steps at the end, not three"),
        (_rows([0.125, 0.1, 0.1, 0.6, 0.1, 0.1], gradient_norm=[1, 1, 0, 1, nan, 1]), {},
         "three bad steps in a row count, even if each is bad for another reason"),
        (_rows([None] * 5, loss=[1.0, 0.9, nan, nan, nan]), {},
         "entropy is None if nothing is sampled: that is not bad"),
        (_rows([0.125, 0.3, 0.3, 0.1, 0.1, 0.1]), {"factor": 2.0, "patience": 2},
         "factor and patience are arguments"),
    ]  # fmt: skip


def _rows(entropies: list, first: int = 1, **fields: list) -> list[dict]:
    rows = []
    for place, entropy in enumerate(entropies):
        row = {"step": first + place, "loss": 0.05, "gradient_norm": 0.6, "entropy": entropy}
        rows.append(row | {name: values[place] for name, values in fields.items()})
    return rows


def _why_not_bad(number: float, log: list[dict], why: str) -> str:
    right = _first_bad_step(log)
    if right and number == right + 2:
        return "that is the last of the bad steps; return the first of them"
    if right and log[0]["step"] > 1 and number in (right - log[0]["step"], right - 40):
        return "that is an index of the list; return the row's `step` (this run was resumed)"
    if right and log[0]["step"] == 1 and number == right - 1:
        return "that is an index of the list; return the row's `step`"
    return why

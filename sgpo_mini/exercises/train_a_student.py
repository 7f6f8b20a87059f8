"""The checks of notebook 07: what one training step learns, and reading a run's log."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import distillation_loss, group_advantages, grpo_loss
from ..mini_gsm.world import make_problems
from ..rollout import Rollouts, given_rollouts, score, strategy_kl
from ..student import Student, load_student
from .checking import Wrong, answer_of, exercise, number_of

Prompts = list[list[int]]


def learn(
    student: Student,
    alone: Prompts,
    guided: Prompts,
    tries: Rollouts,
    advantages: Tensor,
    alpha: Tensor,
    targets: Rollouts,
    delta: float | None,
) -> tuple[float, float]:
    """Add the gradient of L, a mean over problems: (its L_GRPO, its α · L_KD^clip).

    Notebook 07's loop uses this where the reader has not written it yet. alone, guided: the prompts
    of P problems; advantages (P · G1,); alpha (P,); `rows` of the targets: whose target each is.
    """
    explored = distilled = 0.0
    signal = advantages.nonzero().squeeze(1)  # the others have no gradient, and still count
    if len(signal):
        part = tries.select(signal)
        logps = score(student, alone, part)  # (B, T)
        loss = grpo_loss(logps, logps.detach(), advantages[signal], part.mask)
        loss = loss * (len(signal) / len(advantages))
        loss.backward()
        explored = loss.item()
    if len(targets.rows):
        kl = strategy_kl(student, guided, alone, targets)  # (B, T)
        losses = distillation_loss(kl, targets.mask, delta)  # (B,)
        loss = (alpha[targets.rows] * losses).sum() / len(alone)
        loss.backward()
        distilled = loss.item()
    return explored, distilled


@exercise
def check_learning(function: Callable) -> str:
    """Exercise: `learn` of notebook 07, called as `learn` above is, on four made-up problems.

    A gradient is linear in the losses. So we read from it which weight each loss was given: that of
    L_GRPO, of each target's L_KD^clip, and of the tokens above δ.
    """
    step = _step()
    for told, targets, advantages in (
        ("", step.targets, step.advantages),
        (" without a target", step.targets.select([]), step.advantages),
        (" without a target and with all advantages 0", step.targets.select([]),
         torch.zeros_like(step.advantages)),
    ):  # fmt: skip
        call = f"f(...){told}"
        arguments = step.alone, step.guided, step.tries, advantages, step.alpha, targets, DELTA
        gradient, losses = _gradient_of(learn, step.student, arguments, call)
        given, own = _gradient_of(function, step.student, arguments, call)
        if not torch.isfinite(given).all():
            raise Wrong(f"{call} gave a gradient that is not finite; the mean of nothing is NaN")
        if (given - gradient).norm() > 1e-3 * gradient.norm() + 1e-6:
            raise Wrong(f"{call} {_why_not_learnt(step, given, len(targets.rows) > 0)}")
        if not (isinstance(own, tuple | list) and len(own) == 2):
            raise Wrong(f"{call} must return two numbers, L_GRPO and α · L_KD^clip, for the log")
        for name, value, right in zip(("L_GRPO", "α · L_KD^clip"), own, losses, strict=True):
            if abs(number_of(value, call) - right) > 1e-4:
                raise Wrong(
                    f"{call} returned {number_of(value, call):.4g} as {name}, not {right:.4g}"
                )
    return "L_GRPO over all rollouts, α · L_KD^clip over all problems, a gradient from both"


DELTA = 4.0


@dataclass(frozen=True)
class _Step:
    """What a step of four problems learns from; the last target has a token above δ."""

    student: Student
    alone: Prompts
    guided: Prompts
    tries: Rollouts  # two for each problem
    advantages: Tensor
    alpha: Tensor
    targets: Rollouts  # of the problems 3, 0 and 2


def _step() -> _Step:
    student = load_student("tiny", device="cpu")
    problems = [*make_problems("validation")[:2], make_problems("sure_and_wrong")[0]]
    problems.append(make_problems("validation")[3])
    alone = [student.prompt_ids(p.question) for p in problems]
    guided = [student.prompt_ids(p.question, p.strategy) for p in problems]
    texts = [text for p in problems for text in (p.solution, p.solution.rpartition(" ")[0] + " 1")]
    tries = given_rollouts(student, texts, [0, 0, 1, 1, 2, 2, 3, 3])
    rewards = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    targets = given_rollouts(student, [problems[i].solution for i in (3, 0, 2)], [3, 0, 2])
    alpha = torch.tensor([0.3, 0.5, 0.8, 0.1])
    advantages = group_advantages(rewards).flatten()
    return _Step(student, alone, guided, tries, advantages, alpha, targets)


def _gradient_of(
    function: Callable, student: Student, arguments: tuple, call: str
) -> tuple[Tensor, object]:
    """(the gradient that the function adds, what it returns); Wrong if it moves the weights."""
    weights = list(student.model.parameters())
    before = [weight.detach().clone() for weight in weights]
    student.model.zero_grad()
    with torch.enable_grad():
        answer = answer_of(function, call, student, *arguments)
    moved = any(not torch.equal(old, new) for old, new in zip(before, weights, strict=True))
    flat = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    gradient = torch.cat([part.flatten() for part in flat]).double()
    student.model.zero_grad()
    if moved:
        with torch.no_grad():
            for old, weight in zip(before, weights, strict=True):
                weight.copy_(old)
        raise Wrong(f"{call} changed the weights; the loop makes the step, this adds the gradient")
    return gradient, answer


def _why_not_learnt(step: _Step, given: Tensor, has_targets: bool) -> str:
    """The likeliest mistake behind a gradient, from the weight it gives to each loss."""
    if not given.any():
        return "added no gradient: call backward() on each loss"
    count, size = len(step.alpha), len(step.targets.rows)
    weights = _weights_of_losses(step, given)
    if weights is None:
        return ("gave a gradient that is no mix of the two losses: score the rollouts after "
                "`alone`, and take strategy_kl(student, guided, alone, targets)")  # fmt: skip
    explored, distilled, above = weights[0], weights[1 : 1 + size], weights[-1]
    alpha = step.alpha.double()
    own = alpha[step.targets.rows]
    signal = len(step.advantages.nonzero()) / len(step.advantages)

    def near(values: Tensor) -> bool:
        return has_targets and bool(torch.allclose(distilled, values, atol=0.01))

    mistakes = (
        (abs(explored) < 0.1, "L_GRPO is missing"),
        (abs(explored + 1) < 0.1, "L_GRPO has the wrong sign: grpo_loss has the minus in it"),
        (abs(explored - 1 / signal) < 0.1, "a rollout with advantage 0 still counts: the mean is "
         "over all rollouts"),
        (abs(explored - len(step.advantages)) < 0.5, "L_GRPO is a mean over rollouts, not a sum"),
        (near(torch.zeros(size).double()), "α · L_KD^clip is missing"),
        (has_targets and abs(above) > 0.01, "leave out the tokens above delta: "
         "distillation_loss(kl, mask, delta)"),
        (near(own / size), "divide by all P problems: one without a target adds 0"),
        (near(own), "this is the sum over problems; divide by P"),
        (near(torch.full((size,), 1 / count).double()), "α is missing"),
        (near(torch.full((size,), 1 / size).double()), "α is missing, and divide by all P"),
        (near(alpha[:size] / count), "take the α of each target's own problem: "
         "alpha[targets.rows]"),
        (near(alpha.mean().repeat(size) / count), "each problem has its own α; don't average α"),
    )  # fmt: skip
    for found, why in mistakes:
        if found:
            return why
    told = ", ".join(f"{value:.3g}" for value in (explored, *distilled))
    right = ", ".join(f"{value:.3g}" for value in (1, *(own / count)))
    return f"weights L_GRPO and the targets' L_KD^clip with {told}, not with {right}"


def _weights_of_losses(step: _Step, given: Tensor) -> Tensor | None:
    """The weight of L_GRPO, of each target's L_KD^clip and of the last one's tokens above δ.

    None if the gradient is not a weighted sum of theirs.
    """

    def gradient(loss: Tensor) -> Tensor:
        parts = torch.autograd.grad(loss, list(step.student.model.parameters()))
        return torch.cat([part.flatten() for part in parts]).double()

    with torch.enable_grad():
        logps = score(step.student, step.alone, step.tries)
        parts = [gradient(grpo_loss(logps, logps.detach(), step.advantages, step.tries.mask))]
        for delta in (DELTA, None):
            for i in range(len(step.targets.rows)) if delta else [len(step.targets.rows) - 1]:
                part = step.targets.select([i])
                kl = strategy_kl(step.student, step.guided, step.alone, part)
                parts.append(gradient(distillation_loss(kl, part.mask, delta).sum()))
    parts[-1] = parts[-1] - parts[-2]
    basis = torch.stack(parts, dim=1)  # (weights, losses)
    found = torch.linalg.lstsq(basis, given.unsqueeze(1)).solution
    fits = (basis @ found - given.unsqueeze(1)).norm() < 1e-2 * given.norm()
    return found.squeeze(1) if fits else None


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

"""The checks behind the notebooks' exercises.

A check calls the reader's function, prints one line that says what is wrong or right, and returns
whether it is solved. It raises nothing, whatever the function does; only Ctrl-C gets through. What
is right is asked of the package's own functions.
"""

import math
import random
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import wraps
from io import StringIO

import torch
from torch import Tensor

from .evaluation import confidence_interval
from .losses import (
    adaptive_weight,
    distillation_loss,
    forward_kl,
    group_advantages,
    grpo_loss,
    policy_shaping_loss,
    reachable_target,
    reverse_kl,
    token_logps,
)
from .mini_gsm import make_problems
from .problems import Problem, is_correct
from .step_forms import read_operations
from .strategies import Strategy, leaks

Check = Callable[[Callable], bool]

_LARGE = 200.0  # a logit at which a plain softmax underflows


class _Wrong(Exception):
    """What a check has to say to the reader."""


class _Unsolved(_Wrong):
    """The reader's function is still the stub."""


def _check(find_mistake: Callable[[Callable], str]) -> Check:
    """Make a check of a function that returns the praise, or raises _Wrong with the mistake."""

    @wraps(find_mistake)
    def check(function: Callable) -> bool:
        try:
            praise = find_mistake(function)
        except _Unsolved as why:
            print(f"not solved yet: {why}")
        except _Wrong as mistake:
            print(f"not right yet: {mistake}")
        else:
            print(f"right: {praise}")
            return True
        return False

    return check


def _answer(function: Callable, call: str, *arguments, **options):
    """What the reader's function returns; `call` says how it was called."""
    if not callable(function):
        raise _Wrong(f"give the function itself, not {_short(function)}")
    try:
        with redirect_stdout(StringIO()):  # a print for finding a mistake is no part of the answer
            answer = function(*arguments, **options)
    except NotImplementedError:
        raise _Unsolved("the function raises NotImplementedError") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too
        raise _Wrong(f"{call} raised {type(error).__name__}: {_short(error, str)}") from None
    if answer is None or answer is ...:
        raise _Unsolved(f"{call} returned {answer}")
    return answer


def _short(value, show: Callable = repr) -> str:
    """A value on one line of at most 80 characters, even if it can't be shown."""
    try:
        text = " ".join(show(value).split())
    except Exception:
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number(answer, call: str) -> float:
    try:
        if not isinstance(answer, str | bytes):
            return float(answer)
    except Exception:
        pass
    raise _Wrong(f"{call} returned {_short(answer)}, which is no number")


@_check
def check_adaptive_weight(function: Callable) -> str:
    """Exercise: α(q) of one problem, `f(p_auto, p_guide, alpha0=0.5, gamma=0.1, alpha_max=0.8)`."""
    formula = "α0 · (p_guide - p_auto + γ) / (p_auto + γ)"
    cases = (
        # p_auto, p_guide, what else is given, what to think of
        (0.5, 0.75, {}, f"the formula is {formula}"),
        (0.0, 0.5, {}, "it must not exceed α_max"),
        (0.75, 0.25, {}, "the strategy harms here, so the weight is 0, never below"),
        (0.0, 0.0, {}, f"γ belongs above and below the line: {formula}"),
        (1.0, 1.0, {}, f"γ belongs above and below the line: {formula}"),
        (0.2, 0.4, {"alpha0": 1.0, "gamma": 0.2, "alpha_max": 2.0}, "use the arguments' values"),
        (0.25, 0.75, {"alpha_max": 0.3}, "use the arguments' values"),
    )
    for p_auto, p_guide, options, hint in cases:
        shown = "".join(f", {name}={value}" for name, value in options.items())
        call = f"f(p_auto={p_auto}, p_guide={p_guide}{shown})"
        number = _number(_answer(function, call, p_auto, p_guide, **options), call)
        shares = torch.tensor([[p_auto], [p_guide]], dtype=torch.float64)
        expected = adaptive_weight(*shares, **options).item()
        if not abs(number - expected) < 1e-4:
            raise _Wrong(f"{call} returned {number:.4g}, not {expected:.4g}; {hint}")
    return "high where only the strategy helps, 0 where it harms, never above α_max"


@_check
def check_kept_tokens(function: Callable) -> str:
    """Exercise: True where L_KD^clip keeps a token, `f(kl (B, T), mask (B, T), delta) -> (B, T)`.

    A kept token is one that the loss has a gradient for.
    """
    kl = torch.tensor([[0.2, 1.5, 0.0, 1.0, 0.7, 0.3], [3.0, 0.1, 2.0, 0.4, 0.9, 5.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]])
    leaves = {delta: kl.clone().requires_grad_() for delta in (1.0, 2.0, None)}
    with torch.enable_grad():
        for delta, leaf in leaves.items():
            distillation_loss(leaf, mask, delta).sum().backward()
    for delta, leaf in leaves.items():
        call = f"f(kl, mask, delta={delta})"
        answer = _answer(function, call, kl.clone(), mask.clone(), delta)
        kept = _kept(answer, kl.shape, call)
        expected = leaf.grad != 0
        if torch.equal(kept, expected):
            continue
        row, place = (kept != expected).nonzero()[0].tolist()
        value, inside = kl[row, place].item(), bool(mask[row, place])
        if not inside:
            why = "it is padding (mask 0)"
        elif delta is None:
            why = "with delta=None every token of the completion is kept"
        elif value == delta:
            why = "a KL of exactly delta is not above it"
        else:
            why = f"its KL is {'above' if value > delta else 'not above'} delta"
        verb = "keeps" if kept[row, place] else "drops"
        raise _Wrong(f"{call} {verb} the token with KL {value:g} and mask {inside:d}; {why}")
    return "the completion's tokens whose KL is not above delta, and all of them without delta"


def _kept(answer, shape: torch.Size, call: str) -> Tensor:
    """The answer as a tensor of truth values; 0 and 1 will do as well."""
    try:
        kept = torch.as_tensor(answer).detach().cpu()
        if kept.shape != shape:
            what = f"shape {(*kept.shape,)}, not {(*shape,)}: one truth value a token"
            raise _Wrong(f"{call} returned {what}")
        if not ((kept == 0) | (kept == 1)).all():
            raise _Wrong(f"{call} returned other values than True and False (or 1 and 0)")
        return kept.bool()
    except _Wrong:
        raise
    except Exception:
        raise _Wrong(f"{call} returned {_short(answer)}, which is no tensor") from None


@_check
def check_reward(function: Callable) -> str:
    """Exercise: the reward of an output, `f(text, truncated, answer) -> 0.0 or 1.0`.

    The answer is a number after the last `####`, and 0 is earned by what the length limit cut off.
    """
    cases = (
        # text, truncated, gold answer, what to think of
        ("9 + 9 = 18\n#### 18", False, "18", "the number after #### is the gold answer"),
        ("9 + 8 = 17\n#### 17", False, "18", "the number after #### is not the gold answer"),
        ("9 + 9 = 18\n#### 18", True, "18", "what the length limit cut off earns 0"),
        ("9 + 9 = 18", False, "18", "no number stands after ####, so nothing is stated"),
        ("9 + 9 = 18\n####", False, "18", "no number stands after ####, so nothing is stated"),
        ("So it is 18, I think.", False, "18", "without #### nothing is stated"),
        ("#### 17\nNo, once more.\n#### 18", False, "18", "the last #### decides"),
        ("#### 18\nNo, once more.\n#### 17", False, "18", "the last #### decides"),
        ("#### 118", False, "18", "118 is not 18: compare whole numbers, not pieces of text"),
        ("#### -18", False, "18", "the sign counts"),
        ("#### -5", False, "-5", "the sign counts"),
        ("#### 18.0", False, "18", "18.0 is 18: compare numbers, not texts"),
        ("#### 1,234", False, "1234", "commas between thousands are dropped"),
        ("#### $18 a day", False, "18", "a dollar sign in front and words behind are dropped"),
        ("#### 18.", False, "18", "a full stop behind the number is dropped"),
        ("#### 3/4", False, "0.75", "a fraction is a number too"),
        ("#### 0.75", False, "3/4", "a fraction is a number too"),
        ("#### 0.3333333333333333", False, "1/3", "compare exactly (Fraction), not as floats"),
    )
    for text, truncated, answer, hint in cases:
        call = f"f({text!r}, truncated={truncated}, answer={answer!r})"
        number = _number(_answer(function, call, text, truncated, answer), call)
        expected = float(is_correct(text, answer) and not truncated)
        if number != expected:
            raise _Wrong(f"{call} returned {number:g}, not {expected:g}; {hint}")
    return "the last stated number, compared exactly; nothing for what was cut off or not stated"


@_check
def check_hack(function: Callable) -> str:
    """Exercise: an output that "the gold answer is somewhere in the text" pays for every story.

    `f(question) -> text` does not know the gold answer; `is_correct` must never pay it.
    """
    problems = make_problems("validation")
    unpaid, stated = [], []
    for problem in problems:
        call = f"f({_short(problem.question)})"
        text = _answer(function, call, problem.question)
        if not isinstance(text, str):
            raise _Wrong(f"{call} returned {_short(text)}, which is no text")
        if problem.answer not in text:
            unpaid.append(problem)
        elif is_correct(text, problem.answer):
            stated.append(problem)
    if unpaid:
        raise _Wrong(
            f"{len(unpaid)} of {len(problems)} stories are not paid; the first has the gold answer "
            f"{unpaid[0].answer}, which is nowhere in the text"
        )
    if stated:
        raise _Wrong(
            f"is_correct pays {len(stated)} of {len(problems)} stories, so there the text states "
            "the right answer; a hack is paid without stating one"
        )
    return f"paid for all {len(problems)} stories by the naive reward, for none by is_correct"


@_check
def check_completion_mask(function: Callable) -> str:
    """Exercise: 1 on a completion's tokens, `f(tokens (B, T), stop_ids) -> (B, T)`.

    A completion ends with its first stop token, or is cut off at T.
    """
    ends_at_once, never_ends, ended = [1, 5, 1, 7], [5, 6, 7, 8], [5, 6, 1, 9]
    cases = (
        ((1,), [ended, ends_at_once, never_ends, [7, 1, 0, 0], [5, 7, 1, 1]]),
        ((1, 9), [ended, [5, 9, 1, 6], [6, 7, 8, 9], [1, 9, 9, 9], never_ends]),
    )
    for stop_ids, rows in cases:
        call = f"f(tokens, stop_ids={stop_ids})"
        tokens = torch.tensor(rows)
        kept = _kept(_answer(function, call, tokens.clone(), stop_ids), tokens.shape, call)
        for row, answer in zip(rows, kept.tolist(), strict=True):
            stops = [place for place, token in enumerate(row) if token in stop_ids]
            end = stops[0] if stops else len(row) - 1
            expected = [place <= end for place in range(len(row))]
            if answer == expected:
                continue
            place = next(p for p in range(len(row)) if answer[p] != expected[p])
            if answer[place]:
                why = "what stands behind the first stop token has no meaning"
            elif not stops:
                why = "no stop token is in this row, so it was cut off and all of it counts"
            elif place == end:
                why = "the stop token belongs to the completion: the student chose to write it"
            else:
                why = f"the completion goes on until its first token of {stop_ids}"
            verb = "keeps" if answer[place] else "drops"
            raise _Wrong(f"{call} {verb} token number {place + 1} of the row {row}; {why}")
    return "up to the first stop token, which is kept, and whole rows where there is none"


@_check
def check_completion_logps(function: Callable) -> str:
    """Exercise: log-probabilities from a plain forward pass, `f(logits (L, V), ids (L,), start,
    temperature) -> (L - start,)`, of the completion that begins at place `start`."""
    generator = torch.Generator().manual_seed(0)
    for start, length, temperature in ((3, 7, 1.0), (1, 5, 1.0), (4, 9, 0.5), (5, 6, 2.0)):
        logits = 3 * torch.randn(length, 8, generator=generator)
        ids = torch.randint(8, (length,), generator=generator)
        call = f"f(logits, ids, start={start}, temperature={temperature})"
        answer = _answer(function, call, logits.clone(), ids.clone(), start, temperature)
        own, rows = ids[start:], logits[start - 1 : -1]
        right = token_logps(rows / temperature, own)
        values = _values(answer, call)
        if values.shape == right.shape and torch.allclose(values, right, atol=1e-4):
            continue
        for why, mistake in (
            ("row t of the logits predicts token t + 1, not token t",
             token_logps(logits[start:] / temperature, own)),
            ("the first token of the completion is missing: the prompt's last row predicts it",
             right[1:]),
            ("these are all tokens: the prompt's were given, not chosen",
             token_logps(logits[:-1] / temperature, ids[1:])),
            ("the temperature divides the logits", token_logps(rows, own)),
            ("divide the logits: of divided log-probabilities the exp doesn't add up to 1",
             token_logps(rows, own) / temperature),
            ("divide by the temperature, don't multiply", token_logps(rows * temperature, own)),
            ("take the logarithm: these are probabilities", right.exp()),
            ("these are logits: take log_softmax",
             rows.gather(1, own[:, None])[:, 0] / temperature),
            ("the logarithm is a negative number here: the sign is wrong", -right),
            ("give one number a token, not their sum", right.sum()),
            ("give one number a token, not their mean", right.mean()),
        ):  # fmt: skip
            if values.shape == mistake.shape and torch.allclose(values, mistake, atol=1e-4):
                raise _Wrong(f"{call}: {why}")
        if values.shape != right.shape:
            shapes = f"{(*values.shape,)}, not {(*right.shape,)}"
            raise _Wrong(f"{call} returned shape {shapes}: one number a token of the completion")
        place = int((values - right).abs().nan_to_num(torch.inf).argmax())
        shown = f"{values[place]:.4g}, not {right[place]:.4g}"
        raise _Wrong(f"{call} gives token number {place + 1} of the completion {shown}")
    return "one number a token of the completion, from the row before it, at the temperature given"


def _values(answer, call: str) -> Tensor:
    """The answer as a tensor of numbers, float32."""
    try:
        if isinstance(answer, str | bytes):
            raise TypeError
        values = torch.as_tensor(answer).detach().cpu()
        if values.is_complex():
            raise TypeError
        return values.float()
    except Exception:
        raise _Wrong(f"{call} returned {_short(answer)}, which is no tensor of numbers") from None


def _numbers(answer, shape: torch.Size, call: str, each: str, hint: str = "") -> Tensor:
    """The answer, a tensor of finite numbers of the right shape; `each` says what has one."""
    try:
        values = torch.as_tensor(answer)
        numbers = values.detach().cpu()
        if numbers.is_complex():
            raise TypeError
        numbers = numbers.to(torch.float64)
    except Exception:
        raise _Wrong(f"{call} returned {_short(answer)}, which is no tensor of numbers") from None
    if values.shape != shape:
        what = f"shape {(*values.shape,)}, not {(*shape,)}: one number {each}"
        raise _Wrong(f"{call} returned {what}")
    if not numbers.isfinite().all():
        raise _Wrong(f"{call} holds {numbers[~numbers.isfinite()][0].item()}{hint}")
    return values


def _equal(values: Tensor, expected: Tensor) -> bool:
    values, expected = values.detach().cpu(), expected.detach()
    return torch.allclose(values.to(expected.dtype), expected, rtol=1e-4, atol=1e-5)


def _two_sides(shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Guided and autonomous logits, drawn; the same at every call."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(1.5 * torch.randn(shape, generator=generator) for _ in range(2))


@_check
def check_reverse_kl(function: Callable) -> str:
    """Exercise: KL(autonomous ‖ guided), `f(guided_logits (B, T, V), autonomous_logits) -> (B, T)`.

    As in the package, in nats and without a gradient to the guided side.
    """
    call = "f(guided_logits, autonomous_logits)"
    each = "a token, the sum over the vocabulary"
    guided, autonomous = (side.requires_grad_() for side in _two_sides((2, 3, 5), seed=5))
    with torch.enable_grad():
        expected = reverse_kl(guided, autonomous)  # (B, T)
        gradient = torch.autograd.grad(expected.sum(), autonomous)[0]  # (B, T, V)
        values = _numbers(_answer(function, call, guided, autonomous), expected.shape, call, each)
        if not _equal(values, expected):
            raise _Wrong(f"{call} {_why_not_reverse(values, guided, autonomous)}")
        if not values.requires_grad:
            raise _Wrong(f"{call} has no gradient; the autonomous side is the one that learns")
        to_guided, to_autonomous = _gradients(values, (guided, autonomous), call)
    if to_guided.abs().max() > 1e-6:
        raise _Wrong(f"{call} sends a gradient to the guided side too; detach guided_logits")
    if not _equal(to_autonomous, gradient):
        raise _Wrong(
            f"{call} has the right value but a wrong gradient; softmax(autonomous_logits), which "
            "weighs the sum, must keep its own"
        )
    guided, autonomous = (_LARGE * torch.eye(5)[None, rows] for rows in ([0, 1], [0, 2]))
    expected = reverse_kl(guided, autonomous)
    hint = f" for logits of up to {_LARGE:g}; take torch.log_softmax and add no small constant"
    answer = _answer(function, call, guided.clone(), autonomous.clone())
    if not _equal(_numbers(answer, expected.shape, call, each, hint), expected):
        raise _Wrong(f"{call} is wrong{hint}")
    return "the sum is weighted by the student's own side, and the guided side gets no gradient"


def _why_not_reverse(values: Tensor, guided: Tensor, autonomous: Tensor) -> str:
    guided, autonomous = guided.detach(), autonomous.detach()
    right, forward = reverse_kl(guided, autonomous), forward_kl(guided, autonomous)
    if _equal(values, forward):
        return "is the forward KL; in the reverse one the autonomous side comes first"
    if _equal(values, -right):
        return "has the wrong sign: it is log(autonomous / guided), and a KL is never below 0"
    if _equal(values, right / guided.shape[-1]):
        return "takes the mean over the vocabulary; a KL is the sum"
    if _equal(values, right / torch.tensor(2.0).log()):
        return "is in bits; take the natural logarithm for nats"
    place = f"{values.detach().flatten()[0].item():.4g}, not {right.flatten()[0].item():.4g}"
    return f"gives {place}, at the first token; sum a · log(a / g) over the vocabulary (dim=-1)"


def _gradients(values: Tensor, leaves: tuple[Tensor, ...], call: str) -> list[Tensor]:
    """Of the sum of the reader's values, with respect to each leaf; 0 where there is none."""
    try:
        found = torch.autograd.grad(values.sum(), leaves, allow_unused=True)
    except Exception as error:
        raise _Wrong(f"the gradient of {call} can't be taken: {_short(error, str)}") from None
    return [
        torch.zeros_like(leaf) if gradient is None else gradient
        for leaf, gradient in zip(leaves, found, strict=True)
    ]


@_check
def check_kl_gradient(function: Callable) -> str:
    """Exercise: L_KD's gradient by hand, `f(guided_logits (B, T, V), autonomous_logits, mask)`.

    With respect to the autonomous logits, (B, T, V); no δ, the trajectories' losses added up.
    """
    call = "f(guided_logits, autonomous_logits, mask)"
    guided, autonomous = _two_sides((2, 4, 3), seed=6)
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])
    leaf = autonomous.clone().requires_grad_()
    with torch.enable_grad():
        distillation_loss(forward_kl(guided, leaf), mask, None).sum().backward()
        answer = _answer(function, call, guided.clone(), autonomous.clone(), mask.clone())
    values = _numbers(answer, leaf.shape, call, "for each token of the vocabulary, at each place")
    values, expected = values.detach().cpu().to(leaf.dtype), leaf.grad
    if _equal(values, expected):
        return "a − g, divided by the trajectory's own length, and 0 on padding"
    inside, length = mask.unsqueeze(-1), mask.sum(dim=1)[:, None, None]  # (B, T, 1), (B, 1, 1)
    difference = autonomous.softmax(-1) - guided.softmax(-1)  # (B, T, V)
    mistakes = (
        (-expected, "has the wrong sign: the gradient is a - g, and a step goes against it"),
        (difference / length, "is not 0 on the padding (mask 0), which is in no loss"),
        (difference, "must divide by the length and be 0 on padding (mask 0)"),
        (difference * inside, "must divide by the trajectory's length: L_KD is a mean"),
        (difference * inside / 4, "divides by T for all; each has its own length, mask.sum(dim=1)"),
        (difference * inside / 6, "divides by all tokens together; each trajectory has its length"),
        (expected / 2, "takes a mean over the trajectories; here their losses are added"),
        ((autonomous - guided) * inside / length, "subtracts logits; a and g are probabilities"),
    )
    for mistake, why in mistakes:
        if _equal(values, mistake):
            raise _Wrong(f"{call} {why}")
    worst = (values - expected).abs().argmax()
    one, right = values.flatten()[worst].item(), expected.flatten()[worst].item()
    raise _Wrong(
        f"{call} holds {one:.4g} where {right:.4g} belongs; each number is (a - g) / length, and 0 "
        "on padding"
    )


@_check
def check_group_size(function: Callable) -> str:
    """Exercise: the fewest tries with which at least `share` of the groups have a signal, `f(p,
    share)`, at a pass rate p above 0 and below 1."""
    for p, share in ((0.01, 0.5), (0.1, 0.5), (0.5, 0.9), (0.9, 0.5), (0.99, 0.077), (0.5, 0.75)):
        call = f"f(p={p}, share={share})"
        number = _number(_answer(function, call, p, share), call)
        expected = 2
        while 1 - p**expected - (1 - p) ** expected < share:
            expected += 1
        if number == expected:
            continue
        wrong = f"{call} returned {number:g}, not {expected}"
        if math.isfinite(number) and number != int(number):
            raise _Wrong(f"{wrong}; a group has a whole number of tries")
        one_sided = next(size for size in range(1, expected + 1) if (1 - p) ** size <= 1 - share)
        if number in (one_sided, max(one_sided, 2)):
            why = "a group of right tries alone has no signal either"
        elif number == expected + 1:
            why = "one try fewer would do; `at least` allows equality"
        elif number == expected - 1:
            why = "that is one try short: round up"
        else:
            why = "the share of groups with a signal is 1 - p^G - (1 - p)^G"
        raise _Wrong(f"{wrong}; {why}")
    return "rare successes need large groups, and so do rare failures"


@_check
def check_clipped_gradient(function: Callable) -> str:
    """Exercise: d loss / d log π of one token, `f(ratio, advantage, clip_low=0.2, clip_high=0.28)`.

    The loss is `grpo_loss` of a group of one rollout of one token.
    """
    inside = "inside the range the gradient is that of -advantage · ratio"
    left_out = "it has already moved far enough the way the advantage points"
    back = "a clip that would stop it from coming back does nothing: min takes the worse of the two"
    cases = (
        # ratio, advantage, what else is given, what to think of
        (1.0, 1.5, {}, "at ratio 1 it is -advantage: a step downhill raises a good token"),
        (1.1, 2.0, {}, "d ratio / d log π is the ratio itself"),
        (0.9, -1.0, {}, inside),
        (1.5, 1.0, {}, left_out),
        (0.5, -1.0, {}, left_out),
        (0.5, 1.0, {}, back),
        (1.5, -1.0, {}, back),
        (1.25, 1.0, {}, f"the upper end is 1 + clip_high; {inside}"),
        (0.75, -1.0, {}, "the lower end is 1 - clip_low"),
        (1.25, 1.0, {"clip_high": 0.2}, "use the arguments' values"),
        (0.75, -1.0, {"clip_low": 0.3}, "use the arguments' values"),
        (1.2, 0.0, {}, "an advantage of 0 teaches nothing"),
    )
    for ratio, advantage, options, hint in cases:
        shown = "".join(f", {name}={value}" for name, value in options.items())
        call = f"f(ratio={ratio}, advantage={advantage}{shown})"
        number = _number(_answer(function, call, ratio, advantage, **options), call)
        with torch.enable_grad():
            logp = torch.tensor([[ratio]], dtype=torch.float64).log().requires_grad_()
            one, zero = torch.ones_like(logp), torch.zeros_like(logp)
            grpo_loss(logp, zero, advantage * one[0], one, **options).backward()
        expected = logp.grad.item()
        if not abs(number - expected) < 1e-4:
            raise _Wrong(f"{call} returned {number:.4g}, not {expected + 0:.4g}; {hint}")
    return "nothing once a token has moved far enough, and always a way back"


PEARS = Problem(
    "pears",
    "Omar picks 6 baskets of 12 pears each. He gives 16 pears to a school and packs the rest in "
    "bags of 8 pears. How many bags does he fill?",
    "7",
)


@_check
def check_own_strategy(function: Callable) -> str:
    """Exercise: a strategy for the story PEARS in the form of `Strategy.text`, `f(question)`."""
    call = "f(question)"
    text = _answer(function, call, PEARS.question)
    if not isinstance(text, (str, Strategy)):
        raise _Wrong(f"{call} returned {_short(text)}, which is no text")
    try:
        strategy = text if isinstance(text, Strategy) else Strategy.parse(text)
    except ValueError as error:
        raise _Wrong(str(error)) from None
    if found := leaks(strategy, PEARS):
        told = ", ".join(found)
        raise _Wrong(f"it gives {told} away; say what a number stands for, not the number")
    if named := re.search(r"(?i)\b(?:omar|pears?)\b", strategy.text):
        raise _Wrong(f"it names {named[0]!r}; it is to serve every problem of this kind")
    operations, right = read_operations(strategy), ("multiply", "subtract", "divide")
    if operations == right:
        return "multiply, subtract, divide; no number, no name, and usable for the next story"
    told = ", ".join(operations) or "no operation"
    if sorted(operations) == sorted(right):
        why = "these are the right ones in another order"
    elif not operations:
        why = "begin a step with its verb, such as 'Add'"
    else:
        why = "solve the story yourself, and write a step for each operation"
    raise _Wrong(f"its steps say {told}; {why}")


@_check
def check_wrong_strategies(function: Callable) -> str:
    """Exercise: for each problem another family's strategy that is not its own, `f(problems)`."""
    names = ("pack", "shelf_get_give", "share", "four_changes")
    of = {name: [p for p in make_problems("validation") if p.family == name] for name in names}
    pack, shelf, share, changes = (of[name] for name in names)
    mixed = pack[:5] + shelf[:3] + share[:1] + changes[:2]
    random.Random(1).shuffle(mixed)
    twin = [replace(problem, strategy=pack[0].strategy) for problem in shelf[:2]]
    worded = [replace(p, strategy=f"{p.strategy}\n- Check the result") for p in share[:2]]
    cases = (
        ("four families in their order", pack[:3] + shelf[:3] + share[:3] + changes[:3]),
        ("families mixed, of unequal size", mixed),
        ("two families that share a strategy", pack[:2] + twin + changes[:1]),
        ("a family with two strategies", share[2:4] + worded + changes[:1]),
    )
    for about, problems in cases:
        call = f"f(problems) with {about}"
        given = _answer(function, call, list(problems))
        if not isinstance(given, (list, tuple)) or len(given) != len(problems):
            kind = f"{len(given)} items" if isinstance(given, (list, tuple)) else _short(given)
            raise _Wrong(f"{call} returned {kind}; one strategy a problem, {len(problems)} in all")
        for problem, strategy in zip(problems, given, strict=True):
            owners = {other.family for other in problems if other.strategy == strategy}
            if not owners:
                raise _Wrong(f"{call} gave {_short(strategy)}, which is no problem's strategy")
            if strategy == problem.strategy:
                raise _Wrong(f"{call} gave {problem.id} its own strategy's text; compare the texts")
            if problem.family in owners:
                raise _Wrong(f"{call} gave {problem.id} a strategy of its own family")
    return "everybody's strategy is one that others need"


@_check
def check_targets(function: Callable) -> str:
    """Exercise: the reachable targets, `f(logps (P, G, T), mask (P, G, T), correct (P, G))`.

    One row a problem, (P,), by the mean over a trajectory's tokens; -1 where none is right.
    """
    call = "f(logps, mask, correct)"
    lengths = torch.tensor([[2, 4, 3], [4, 2, 3], [3, 4, 1], [2, 2, 2]])
    each = torch.tensor([[-0.7, -0.5, -0.1], [-0.2, -0.9, -0.4], [-0.1, -0.2, -0.3], [-0.5] * 3])
    correct = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 1, 1]]).bool()
    mask = (torch.arange(4) < lengths.unsqueeze(-1)).float()  # (P, G, T)
    # Anything may stand in the padding: here it would make the short ones far likelier.
    logps = torch.where(mask.bool(), each.unsqueeze(-1), 3.0)
    rows = range(len(logps))
    expected = [reachable_target(logps[p], mask[p], correct[p]) for p in rows]
    expected = [-1 if row is None else row for row in expected]
    answer = _answer(function, call, logps.clone(), mask.clone(), correct.clone())
    given = _numbers(answer, correct.shape[:1], call, "for each problem").detach().tolist()
    if given == expected:
        return "right ones alone, by the mean over their own tokens, and -1 where none is right"
    p = next(p for p in rows if given[p] != expected[p])
    by_sum = [reachable_target(logps[p], mask[p], correct[p], "sum") for p in rows]
    right = correct[p].nonzero().squeeze(1).tolist()
    padded = logps.sum(-1).masked_fill(~correct, -torch.inf).argmax(dim=1).tolist()
    if not right:
        why = "none of its trajectories is right, so it has no target: -1"
    elif given[p] not in right:
        why = f"only the rows {right} are right; a wrong one is never a target"
    elif [row for row in given if row >= 0] in (padded, padded[:2] + padded[3:]):
        why = "padding (mask 0) must not count: anything may stand there"
    elif lengths[p, int(given[p])] < lengths[p, expected[p]] and given[p] == by_sum[p]:
        why = "that is the highest sum; divide by the trajectory's own length, mask.sum(-1)"
    elif p == 3:
        why = "two are equally likely; take the first of them"
    else:
        why = "padding (mask 0) must not count, and the length is that of the trajectory itself"
    raise _Wrong(f"{call} chose row {given[p]:g} for problem {p}, not {expected[p]}; {why}")


@_check
def check_clipped_loss(function: Callable) -> str:
    """Exercise: L_KD^clip of each trajectory, `f(kl (B, T), mask (B, T), delta) -> (B,)`."""
    kl = torch.tensor([[0.2, 1.5, 0.5, 1.0, 9.0], [3.0, 0.1, 2.0, 0.5, 0.7], [4.0, 6.0, 0.9, 0, 0]])
    mask = torch.tensor([[1.0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    hint = "; a token left out still counts in the length, so no length here is 0"
    for delta in (1.0, 2.0):
        call = f"f(kl, mask, delta={delta})"
        leaf, own = kl.clone().requires_grad_(), kl.clone().requires_grad_()
        with torch.enable_grad():
            expected = distillation_loss(leaf, mask, delta)  # (B,)
            answer = _answer(function, call, own, mask.clone(), delta)
            values = _numbers(answer, expected.shape, call, "for each trajectory", hint)
            if not _equal(values, expected):
                raise _Wrong(f"{call} {_why_not_clipped(values, kl, mask, delta)}")
            if not values.requires_grad:
                raise _Wrong(f"{call} has no gradient; only the comparison with delta needs none")
            (gradient,) = _gradients(values, (own,), call)
        (right,) = torch.autograd.grad(expected.sum(), leaf)
        if not _equal(gradient, right):
            raise _Wrong(f"{call} has the right value but a wrong gradient: 1 / length where kept")
    return "left out of the sum, and still counted in the length"


def _why_not_clipped(values: Tensor, kl: Tensor, mask: Tensor, delta: float) -> str:
    length, kept = mask.sum(dim=1), mask * (kl <= delta)
    mistakes = (
        ((kl.clamp(max=delta) * mask).sum(1) / length, "cuts a large KL to delta; leave it out"),
        ((kl * kept).sum(1) / kept.sum(1).clamp(min=1), "divides by the kept tokens: one left out "
         "still counts in the length, else the others are scaled up in its place"),
        ((kl * mask).sum(1) / length, "leaves nothing out: drop the tokens with kl > delta"),
        ((kl * (kl <= delta)).sum(1) / length, "counts padding (mask 0) in the sum"),
        ((kl * kept).mean(1), "divides by T for all; each has its own length, mask.sum(1)"),
        ((kl * kept).sum(1), "must divide by the trajectory's length"),
        ((kl * mask * (kl < delta)).sum(1) / length, "drops a KL of exactly delta: not above it"),
        ((kl * mask * (kl > delta)).sum(1) / length, "keeps those above delta and drops the rest"),
    )  # fmt: skip
    for mistake, why in mistakes:
        if _equal(values, mistake):
            return why
    right = distillation_loss(kl, mask, delta)
    row = int((values.detach() - right).abs().nan_to_num(9.0).argmax())
    told = f"gives {values[row].item():.4g}, not {right[row].item():.4g}, for trajectory {row}"
    return f"{told}; the sum of its kept tokens' KL over mask.sum(1)"


@_check
def check_paired_interval(function: Callable) -> str:
    """Exercise: the 95 % t interval of second - first over five seeds, `f(first, second) -> (low,
    high)`, paired by seed."""
    quantile = 2.776
    for first, second in (
        ([70.0, 74.0, 69.0, 73.0, 74.0], [76.0, 79.0, 76.0, 80.0, 79.0]),
        ([0.5, 0.7, 0.6, 0.4, 0.55], [0.45, 0.75, 0.35, 0.5, 0.4]),
        ([10.0, 20.0, 30.0, 40.0, 50.0], [12.0, 22.0, 32.0, 42.0, 52.0]),
    ):
        call = f"f({first}, {second})"
        values = _values(_answer(function, call, list(first), list(second)), call)
        if values.shape != (2,):
            raise _Wrong(f"{call} returned {(*values.shape,)} numbers, not two: (low, high)")
        low, high = values.tolist()
        gaps = [b - a for a, b in zip(first, second, strict=True)]
        expected = confidence_interval(gaps, over="seeds")
        if max(abs(low - expected[0]), abs(high - expected[1])) < 1e-3:
            continue
        middle, half = sum(gaps) / 5, (expected[1] - expected[0]) / 2
        alone = [confidence_interval(values, over="seeds") for values in (first, second)]
        unpaired = math.hypot(*((b - a) / 2 for a, b in alone))
        near = {
            "it comes as (low, high)": (middle + half, middle - half),
            "the difference is second - first": (-middle - half, -middle + half),
            "divide the standard deviation by √5: the mean of five is surer than one":
                (middle - half * math.sqrt(5), middle + half * math.sqrt(5)),
            "divide by n - 1 in the standard deviation, not by n":
                (middle - half * math.sqrt(0.8), middle + half * math.sqrt(0.8)),
            "with five seeds the t quantile is 2.776, not the normal's 1.96":
                (middle - half * 1.96 / quantile, middle + half * 1.96 / quantile),
            "with five seeds there are four degrees of freedom: 2.776, not 2.571":
                (middle - half * 2.571 / quantile, middle + half * 2.571 / quantile),
            "the quantile 2.776 is missing":
                (middle - half / quantile, middle + half / quantile),
            "that is not paired: take the differences seed by seed first":
                (middle - unpaired, middle + unpaired),
            "that is not paired (2.306 is for two groups): take the differences first":
                (middle - unpaired * 2.306 / quantile, middle + unpaired * 2.306 / quantile),
        }  # fmt: skip
        shown = f"({expected[0]:.4g}, {expected[1]:.4g})"
        why = "mean of the differences ± 2.776 · std / √5, std with n - 1"
        for said, (a, b) in near.items():
            if max(abs(low - a), abs(high - b)) < 1e-3:
                why = said
                break
        raise _Wrong(f"{call} returned ({low:.4g}, {high:.4g}), not {shown}; {why}")
    return "the mean difference, give or take 2.776 standard errors"


@_check
def check_luffy_gradient(function: Callable) -> str:
    """Exercise: d loss / d log π of one token of LUFFY's given solution, `f(p, right, own,
    shaping=0.1)`: its probability is p, and of `own` rollouts beside the solution `right` are."""
    for p, right, own, options in (
        (0.2, 1, 3, {}),
        (0.1, 0, 11, {}),
        (0.01, 3, 11, {}),
        (0.9, 3, 11, {}),
        (0.5, 11, 11, {}),
        (0.2, 5, 7, {"shaping": 0.3}),
    ):
        shown = "".join(f", {name}={value}" for name, value in options.items())
        call = f"f(p={p}, right={right}, own={own}{shown})"
        number = _number(_answer(function, call, p, right, own, **options), call)
        shaping = options.get("shaping", 0.1)
        rewards = torch.tensor([[1.0] * right + [0.0] * (own - right) + [1.0]], dtype=torch.float64)
        advantage = group_advantages(rewards, in_deviations=False)[0, -1:]
        with torch.enable_grad():
            logp = torch.tensor([[p]], dtype=torch.float64).log().requires_grad_()
            loss = policy_shaping_loss(logp, advantage, torch.ones_like(logp), shaping)
            loss.sum().backward()
        expected = logp.grad.item()
        if abs(number - expected) < 1e-5:
            continue
        a, push = advantage.item(), shaping * p / (p + shaping) ** 2
        f, own_mean, paper = p / (p + shaping), 1 - right / own, 0.1 * p / (p + 0.1) ** 2
        scaled = group_advantages(rewards)[0, -1].item()
        why = "it is -A · shaping · p / (p + shaping)²"
        for said, wrong in (
            ("the sign is wrong: a step downhill raises a good token", a * push),
            ("A is reward - mean; LUFFY does not divide by the standard deviation", -scaled * push),
            ("the mean is over the whole group, the given solution too", -own_mean * push),
            ("the advantage is missing", -push),
            ("that is the derivative with respect to p; for log p multiply by p", -a * push / p),
            ("that is the loss, not its derivative", -a * f),
            ("that is SFT's push times A: f has a derivative", -a),
            ("that is plain importance sampling: f(x) = x / (x + shaping), not x", -a * p),
            ("use the argument `shaping`", -a * paper),
        ):
            if abs(number - wrong) < 1e-5:
                why = said
                break
        raise _Wrong(f"{call} returned {number:.4g}, not {expected + 0:.4g}; {why}")
    return "most for tokens near p = shaping, and nothing once every rollout is right"

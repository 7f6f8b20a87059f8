"""What all checks share: calling the reader's function, and reporting a mistake."""

from collections.abc import Callable
from contextlib import redirect_stdout
from functools import wraps
from io import StringIO

import torch
from torch import Tensor

Check = Callable[[Callable], bool]


class Wrong(Exception):
    """A mistake in the reader's function; its text is printed."""


class Unsolved(Wrong):
    """The reader's function is still the stub."""


def exercise(find_mistake: Callable[[Callable], str]) -> Check:
    """Make a check from a function that returns the praise or raises Wrong with the mistake."""

    @wraps(find_mistake)
    def check(function: Callable) -> bool:
        try:
            praise = find_mistake(function)
        except Unsolved as why:
            print(f"not solved yet: {why}")
        except Wrong as mistake:
            print(f"not right yet: {mistake}")
        else:
            print(f"right: {praise}")
            return True
        return False

    return check


def answer_of(function: Callable, call: str, *arguments, **options):
    """Call the reader's function and return its answer; messages quote `call`."""
    if not callable(function):
        raise Wrong(f"give the function itself, not {shortened(function)}")
    try:
        with redirect_stdout(StringIO()):  # hide debugging prints
            answer = function(*arguments, **options)
    except NotImplementedError:
        raise Unsolved("the function raises NotImplementedError") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too
        raise Wrong(f"{call} raised {type(error).__name__}: {shortened(error, str)}") from None
    if answer is None or answer is ...:
        raise Unsolved(f"{call} returned {answer}")
    return answer


def shortened(value, show: Callable = repr) -> str:
    """A value on one line of at most 80 characters, even if its repr fails."""
    try:
        text = " ".join(show(value).split())
    except Exception:
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def number_of(answer, call: str) -> float:
    try:
        if not isinstance(answer, str | bytes):
            return float(answer)
    except Exception:
        pass
    raise Wrong(f"{call} returned {shortened(answer)}, which is not a number")


def values_of(answer, call: str) -> Tensor:
    """The answer as a tensor of numbers, float32."""
    try:
        if isinstance(answer, str | bytes):
            raise TypeError
        values = torch.as_tensor(answer).detach().cpu()
        if values.is_complex():
            raise TypeError
        return values.float()
    except Exception:
        raise Wrong(f"{call} returned {shortened(answer)}, not a tensor of numbers") from None


def numbers_of(answer, shape: torch.Size, call: str, each: str, hint: str = "") -> Tensor:
    """The answer, a tensor of finite numbers of this shape; `each` says what has one number."""
    try:
        values = torch.as_tensor(answer)
        numbers = values.detach().cpu()
        if numbers.is_complex():
            raise TypeError
        numbers = numbers.to(torch.float64)
    except Exception:
        raise Wrong(f"{call} returned {shortened(answer)}, not a tensor of numbers") from None
    if values.shape != shape:
        what = f"shape {(*values.shape,)}, not {(*shape,)}: one number {each}"
        raise Wrong(f"{call} returned {what}")
    if not numbers.isfinite().all():
        raise Wrong(f"{call} holds {numbers[~numbers.isfinite()][0].item()}{hint}")
    return values


def all_equal(values: Tensor, expected: Tensor) -> bool:
    values, expected = values.detach().cpu(), expected.detach()
    return torch.allclose(values.to(expected.dtype), expected, rtol=1e-4, atol=1e-5)


def gradients_of(values: Tensor, leaves: tuple[Tensor, ...], call: str) -> list[Tensor]:
    """The gradients of the sum of the reader's values; 0 for a leaf without gradient."""
    try:
        found = torch.autograd.grad(values.sum(), leaves, allow_unused=True)
    except Exception as error:
        raise Wrong(f"the gradient of {call} can't be taken: {shortened(error, str)}") from None
    return [
        torch.zeros_like(leaf) if gradient is None else gradient
        for leaf, gradient in zip(leaves, found, strict=True)
    ]


def kept_of(answer, shape: torch.Size, call: str) -> Tensor:
    """The answer as a tensor of truth values; 0 and 1 are accepted too."""
    try:
        kept = torch.as_tensor(answer).detach().cpu()
        if kept.shape != shape:
            what = f"shape {(*kept.shape,)}, not {(*shape,)}: one truth value per token"
            raise Wrong(f"{call} returned {what}")
        if not ((kept == 0) | (kept == 1)).all():
            raise Wrong(f"{call} returned values other than True and False (or 1 and 0)")
        return kept.bool()
    except Wrong:
        raise
    except Exception:
        raise Wrong(f"{call} returned {shortened(answer)}, which is not a tensor") from None

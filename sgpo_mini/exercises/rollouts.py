"""The checks of notebook 03: the loop that samples a completion, and a completion's mask."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..decoding import draw
from ..mini_gsm.world import make_problems
from ..rollout import sample
from ..student import Student, load_student
from .checking import Wrong, answer_of, exercise, kept_of, values_of


@exercise
def check_completion_mask(function: Callable) -> str:
    """Exercise: 1 on a completion's tokens, `f(tokens (B, T), stop_ids) -> (B, T)`.

    A completion ends with its first stop token, or at T if it has none.
    """
    ends_at_once, never_ends, ended = [1, 5, 1, 7], [5, 6, 7, 8], [5, 6, 1, 9]
    cases = (
        ((1,), [ended, ends_at_once, never_ends, [7, 1, 0, 0], [5, 7, 1, 1]]),
        ((1, 9), [ended, [5, 9, 1, 6], [6, 7, 8, 9], [1, 9, 9, 9], never_ends]),
    )
    for stop_ids, rows in cases:
        call = f"f(tokens, stop_ids={stop_ids})"
        tokens = torch.tensor(rows)
        kept = kept_of(answer_of(function, call, tokens.clone(), stop_ids), tokens.shape, call)
        for row, answer in zip(rows, kept.tolist(), strict=True):
            stops = [place for place, token in enumerate(row) if token in stop_ids]
            end = stops[0] if stops else len(row) - 1
            expected = [place <= end for place in range(len(row))]
            if answer == expected:
                continue
            place = next(p for p in range(len(row)) if answer[p] != expected[p])
            if answer[place]:
                why = "tokens after the first stop token are padding"
            elif not stops:
                why = "this row has no stop token: it was cut off, and all its tokens count"
            elif place == end:
                why = "the stop token belongs to the completion: the student sampled it"
            else:
                why = f"the completion continues to its first token of {stop_ids}"
            verb = "keeps" if answer[place] else "drops"
            raise Wrong(f"{call} {verb} token number {place + 1} of the row {row}; {why}")
    return "up to and including the first stop token, and whole rows without one"


@torch.no_grad()
def sampling_loop(
    student: Student,
    prompt: Sequence[int],
    uniform: Tensor,
    temperature: float,
    draw: Callable[[Tensor, Tensor], Tensor] = draw,
) -> list[int]:
    """One completion's token ids, its stop token included; `uniform` (T,) has one number a token.

    Notebook 03 uses this where the reader has not written it yet; `draw` is as in decoding.py.
    """
    ids = list(prompt)
    for number in uniform:
        logits = student.model(torch.tensor([ids], device=student.device)).logits[:, -1]  # (1, V)
        token = draw(logits / temperature, number[None]).item()
        ids.append(token)
        if token in student.stop_ids:
            break
    return ids[len(prompt) :]


@exercise
def check_sampling_loop(function: Callable) -> str:
    """Exercise: `sampling_loop`, called as above, gives the tokens of `sample` for one prompt."""
    student = load_student("tiny", device="cpu")
    problems = make_problems("test")
    # The usual mistakes give five different completions of the first.
    for index, limit, temperature in ((9, 64, 2.0), (0, 64, 0.5), (3, 5, 1.0)):
        prompt = student.prompt_ids(problems[index].question)
        uniform, expected = _as_sampled(student, prompt, limit, temperature)
        call = f"f(student, prompt, uniform of {limit} numbers, temperature={temperature})"
        given = student, list(prompt), uniform.clone(), temperature
        values = values_of(answer_of(function, call, *given), call)
        if values.dim() != 1:
            shape = (*values.shape,)
            raise Wrong(f"{call} returned shape {shape}; return a list of the completion's ids")
        if values.tolist() != expected:
            why = _why_not_sampled(values.tolist(), expected, *given)
            raise Wrong(f"{call}: {why}")
    return "token by token, the same completions as `sample`"


def _as_sampled(
    student: Student, prompt: list[int], limit: int, temperature: float
) -> tuple[Tensor, list[int]]:
    """(the random numbers that `sample` takes with seed 0, the token ids it then gives)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        uniform = torch.rand(limit)
        torch.manual_seed(0)
        one = sample(student, [prompt], 1, max_new_tokens=limit, temperature=temperature)
    return uniform, one.tokens[0, : int(one.mask.sum())].tolist()


def _why_not_sampled(
    answer: list[float],
    expected: list[int],
    student: Student,
    prompt: list[int],
    uniform: Tensor,
    temperature: float,
) -> str:
    """The likeliest mistake behind a wrong list of token ids."""
    if answer[: len(prompt)] == prompt:
        return "leave out the prompt: return the completion alone"
    if answer == expected[:-1] and expected[-1] in student.stop_ids:
        return "the stop token belongs to the completion: the student sampled it"
    if len(answer) > len(expected) and answer[: len(expected)] == expected:
        return "stop after the first stop token, or where the random numbers end"

    def unnormalized(logits: Tensor, number: Tensor) -> Tensor:
        p = (logits * temperature).softmax(dim=-1) ** (1 / temperature)
        drawn = torch.searchsorted(p.cumsum(dim=-1), number[:, None], right=True)[:, 0]
        return drawn.clamp(max=p.shape[-1] - 1)

    for why, numbers, divisor, draw_one in (
        ("the temperature divides the logits", uniform, 1.0, draw),
        ("divide by the temperature, don't multiply", uniform, 1 / temperature, draw),
        ("these probabilities don't add up to 1: take softmax after the division", uniform,
         temperature, unnormalized),
        ("this takes the likeliest token; draw one with the random number", uniform, 1e-6, draw),
        ("take the next random number for each token", uniform[:1].expand(len(uniform)),
         temperature, draw),
    ):  # fmt: skip
        if answer == sampling_loop(student, prompt, numbers, divisor, draw_one):
            return why
    same = [a == b for a, b in zip(answer, expected, strict=False)]
    if all(same):
        return f"the completion goes on after its token number {len(answer)}"
    place = same.index(False)
    return (
        f"token number {place + 1} is {answer[place]:g}, not {expected[place]}; the last row of "
        "logits, which has read all tokens so far, speaks about the next"
    )

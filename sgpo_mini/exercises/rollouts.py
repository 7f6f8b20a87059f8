"""The checks of notebook 03: the loop that samples a completion, and its log-probabilities."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..decoding import draw
from ..losses import token_logps
from ..mini_gsm.world import make_problems
from ..rollout import sample
from ..student import Student, load_student
from .checking import Wrong, all_equal, answer_of, exercise, numbers_of, values_of


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


def completion_logps(logits: Tensor, ids: Tensor, start: int, stop_ids: tuple[int, ...]) -> Tensor:
    """Log-probabilities of what follows the first `start` ids, 0 behind the first stop token.

    logits (B, L, V), ids (B, L). Returns (B, L - start). Notebook 03 uses this where the reader has
    not written it yet.
    """
    own = ids[:, start:]
    stops = torch.isin(own, torch.tensor(stop_ids, device=ids.device)).int()
    inside = stops.cumsum(dim=1) - stops == 0
    return torch.where(inside, token_logps(logits[:, start - 1 : -1], own), 0.0)


@exercise
def check_completion_logps(function: Callable) -> str:
    """Exercise: `completion_logps`, called as above."""
    ids = torch.tensor(
        [
            [2, 3, 4, 5, 6, 1, 0, 0],
            [2, 3, 4, 1, 5, 1, 7, 2],
            [2, 3, 4, 5, 6, 7, 8, 5],
            [2, 3, 4, 5, 9, 6, 1, 1],
        ]
    )
    logits = torch.randn((*ids.shape, 10), generator=torch.Generator().manual_seed(3))
    for start, stop_ids in ((3, (1,)), (2, (1, 9))):
        call = f"f(logits, ids, start={start}, stop_ids={stop_ids})"
        right = completion_logps(logits, ids, start, stop_ids)
        answer = answer_of(function, call, logits.clone(), ids.clone(), start, stop_ids)
        values = numbers_of(answer, right.shape, call, "for each token of a completion")
        if not all_equal(values, right):
            raise Wrong(f"{call}: {_why_other_logps(values, logits, ids, start, stop_ids)}")
    return "one row earlier, and up to the first stop token, which counts"


def _why_other_logps(
    answer: Tensor, logits: Tensor, ids: Tensor, start: int, stop_ids: tuple[int, ...]
) -> str:
    """The likeliest mistake behind wrong log-probabilities."""
    right = completion_logps(logits, ids, start, stop_ids)
    own, rows = ids[:, start:], logits[:, start - 1 : -1]
    whole, late = token_logps(rows, own), token_logps(logits[:, start:], own)
    inside, stops = right != 0, torch.isin(own, torch.tensor(stop_ids))
    before_last = stops.flip(1).cumsum(1).flip(1) > 0  # up to the last stop token
    shifted = "the row that has read a token speaks about the next one: begin one row earlier"
    behind = "put 0 behind the first stop token: what stands there is no part of the completion"
    end = "the stop token is missing: the student sampled it, so it counts"
    cut_off = "a row without a stop token was cut off: all of it counts"
    mistakes = (
        (late * inside, shifted),
        (late, f"{shifted}; and {behind}"),
        (whole, behind),
        (right * ~stops, end),
        (whole * ~stops, f"{end}; and {behind}"),
        (whole * (before_last | ~stops.any(1, keepdim=True)), "a completion ends with its *first* "
         "stop token, not with its last"),
        (whole * before_last, "a completion ends with its *first* stop token, not with its last; "
         f"and {cut_off}"),
        (right * stops.any(1, keepdim=True), cut_off),
        (whole * (own != 0), "0 is not always padding: make the mask from the stop tokens"),
        (completion_logps(logits, ids, start, stop_ids[:1]), "any token of stop_ids ends it"),
        (completion_logps(logits, ids, start, stop_ids[-1:]), "any token of stop_ids ends it"),
        (right.exp() * inside, "these are probabilities; take the logarithm"),
        (rows.gather(-1, own[..., None])[..., 0] * inside, "these are logits: log_softmax first"),
        (-right, "a log-probability is at most 0: the sign is wrong"),
    )  # fmt: skip
    for values, why in mistakes:
        if all_equal(answer, values):
            return why
    apart = (answer.detach().cpu() - right).abs() > 1e-4
    row, place = apart.nonzero()[0].tolist()
    found, expected = answer[row, place].item(), right[row, place].item()
    return f"token number {place + 1} of row {row} has {found:.4g}, not {expected:.4g}"

"""The checks of notebook 03: the mask of a completion, and the log-probabilities of its tokens."""

from collections.abc import Callable

import torch

from ..losses import token_logps
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


@exercise
def check_completion_logps(function: Callable) -> str:
    """Exercise: the log-probabilities of a completion, from the logits of a plain forward pass.

    `f(logits (L, V), ids (L,), start, temperature) -> (L - start,)`; the completion begins at
    position `start`.
    """
    generator = torch.Generator().manual_seed(0)
    for start, length, temperature in ((3, 7, 1.0), (1, 5, 1.0), (4, 9, 0.5), (5, 6, 2.0)):
        logits = 3 * torch.randn(length, 8, generator=generator)
        ids = torch.randint(8, (length,), generator=generator)
        call = f"f(logits, ids, start={start}, temperature={temperature})"
        answer = answer_of(function, call, logits.clone(), ids.clone(), start, temperature)
        own, rows = ids[start:], logits[start - 1 : -1]
        right = token_logps(rows / temperature, own)
        values = values_of(answer, call)
        if values.shape == right.shape and torch.allclose(values, right, atol=1e-4):
            continue
        for why, mistake in (
            ("row t of the logits predicts token t + 1, not token t",
             token_logps(logits[start:] / temperature, own)),
            ("the first token of the completion is missing: the prompt's last row predicts it",
             right[1:]),
            ("leave out the tokens of the prompt: they were given, not sampled",
             token_logps(logits[:-1] / temperature, ids[1:])),
            ("the temperature divides the logits", token_logps(rows, own)),
            ("divide the logits, not the log-probabilities: these would not be normalized",
             token_logps(rows, own) / temperature),
            ("divide by the temperature, don't multiply", token_logps(rows * temperature, own)),
            ("take the logarithm: these are probabilities", right.exp()),
            ("these are logits: take log_softmax",
             rows.gather(1, own[:, None])[:, 0] / temperature),
            ("the sign is wrong: a log-probability is at most 0", -right),
            ("return one number per token, not their sum", right.sum()),
            ("return one number per token, not their mean", right.mean()),
        ):  # fmt: skip
            if values.shape == mistake.shape and torch.allclose(values, mistake, atol=1e-4):
                raise Wrong(f"{call}: {why}")
        if values.shape != right.shape:
            shapes = f"{(*values.shape,)}, not {(*right.shape,)}"
            raise Wrong(f"{call} returned shape {shapes}: one number per token of the completion")
        place = int((values - right).abs().nan_to_num(torch.inf).argmax())
        shown = f"{values[place]:.4g}, not {right[place]:.4g}"
        raise Wrong(f"{call} gives token number {place + 1} of the completion {shown}")
    return "one number per token, from the row before it, at the given temperature"

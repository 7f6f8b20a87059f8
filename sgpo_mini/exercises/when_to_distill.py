"""The checks of notebook 06: reachable targets, and the clipped distillation loss."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..losses import distillation_loss, reachable_target
from .checking import Wrong, all_equal, answer_of, exercise, gradients_of, numbers_of


@exercise
def check_targets(function: Callable) -> str:
    """Exercise: the reachable targets, `f(logps (P, G, T), mask (P, G, T), correct (P, G))`.

    For each problem, (P,), the index of the correct completion with the highest mean of logps over
    its tokens; -1 if none is correct.
    """
    call = "f(logps, mask, correct)"
    lengths = torch.tensor([[2, 4, 3], [4, 2, 3], [3, 4, 1], [2, 2, 2]])
    each = torch.tensor([[-0.7, -0.5, -0.1], [-0.2, -0.9, -0.4], [-0.1, -0.2, -0.3], [-0.5] * 3])
    correct = torch.tensor([[1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 1, 1]]).bool()
    mask = (torch.arange(4) < lengths.unsqueeze(-1)).float()  # (P, G, T)
    # The padding holds values that would make the short completions more likely.
    logps = torch.where(mask.bool(), each.unsqueeze(-1), 3.0)
    rows = range(len(logps))
    expected = [reachable_target(logps[p], mask[p], correct[p]) for p in rows]
    expected = [-1 if row is None else row for row in expected]
    answer = answer_of(function, call, logps.clone(), mask.clone(), correct.clone())
    given = numbers_of(answer, correct.shape[:1], call, "for each problem").detach().tolist()
    if given == expected:
        return "only correct ones, by the mean over their own tokens, and -1 if none is correct"
    p = next(p for p in rows if given[p] != expected[p])
    by_sum = [reachable_target(logps[p], mask[p], correct[p], "sum") for p in rows]
    right = correct[p].nonzero().squeeze(1).tolist()
    padded = logps.sum(-1).masked_fill(~correct, -torch.inf).argmax(dim=1).tolist()
    if not right:
        why = "none of its completions is correct, so it has no target: -1"
    elif given[p] not in right:
        why = f"only the rows {right} are correct; a wrong one is never a target"
    elif [row for row in given if row >= 0] in (padded, padded[:2] + padded[3:]):
        why = "padding (mask 0) must not count: its values are arbitrary"
    elif lengths[p, int(given[p])] < lengths[p, expected[p]] and given[p] == by_sum[p]:
        why = "this is the highest sum; divide by the completion's own length, mask.sum(-1)"
    elif p == 3:
        why = "two are equally likely; take the first of them"
    else:
        why = "padding (mask 0) must not count, and each completion has its own length"
    raise Wrong(f"{call} chose row {given[p]:g} for problem {p}, not {expected[p]}; {why}")


@exercise
def check_clipped_loss(function: Callable) -> str:
    """Exercise: L_KD^clip of each completion, `f(kl (B, T), mask (B, T), delta) -> (B,)`."""
    kl = torch.tensor([[0.2, 1.5, 0.5, 1.0, 9.0], [3.0, 0.1, 2.0, 0.5, 0.7], [4.0, 6.0, 0.9, 0, 0]])
    mask = torch.tensor([[1.0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    hint = "; tokens left out still count in the length, so no length is 0 here"
    for delta in (1.0, 2.0):
        call = f"f(kl, mask, delta={delta})"
        leaf, own = kl.clone().requires_grad_(), kl.clone().requires_grad_()
        with torch.enable_grad():
            expected = distillation_loss(leaf, mask, delta)  # (B,)
            answer = answer_of(function, call, own, mask.clone(), delta)
            values = numbers_of(answer, expected.shape, call, "for each completion", hint)
            if not all_equal(values, expected):
                raise Wrong(f"{call} {_why_not_clipped(values, kl, mask, delta)}")
            if not values.requires_grad:
                raise Wrong(f"{call} has no gradient; only the comparison with delta needs none")
            (gradient,) = gradients_of(values, (own,), call)
        (right,) = torch.autograd.grad(expected.sum(), leaf)
        if not all_equal(gradient, right):
            raise Wrong(f"{call} has the right value but a wrong gradient: 1 / length where kept")
    return "tokens above delta are left out of the sum but still count in the length"


def _why_not_clipped(values: Tensor, kl: Tensor, mask: Tensor, delta: float) -> str:
    length, kept = mask.sum(dim=1), mask * (kl <= delta)
    mistakes = (
        ((kl.clamp(max=delta) * mask).sum(1) / length, "cuts a large KL to delta; leave it out"),
        ((kl * kept).sum(1) / kept.sum(1).clamp(min=1), "divides by the kept tokens: those left "
         "out still count in the length, else the kept ones are scaled up"),
        ((kl * mask).sum(1) / length, "leaves nothing out: drop the tokens with kl > delta"),
        ((kl * (kl <= delta)).sum(1) / length, "counts padding (mask 0) in the sum"),
        ((kl * kept).mean(1), "divides all by T; each has its own length, mask.sum(1)"),
        ((kl * kept).sum(1), "must divide by the completion's length"),
        ((kl * mask * (kl < delta)).sum(1) / length, "drops a KL of exactly delta: keep it"),
        ((kl * mask * (kl > delta)).sum(1) / length, "keeps those above delta and drops the rest"),
    )  # fmt: skip
    for mistake, why in mistakes:
        if all_equal(values, mistake):
            return why
    right = distillation_loss(kl, mask, delta)
    row = int((values.detach() - right).abs().nan_to_num(9.0).argmax())
    told = f"gives {values[row].item():.4g}, not {right[row].item():.4g}, for completion {row}"
    return f"{told}; the sum of its kept tokens' KL over mask.sum(1)"

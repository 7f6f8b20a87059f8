"""distillation.py needs no TRL: the KL of a strategy inside a model's own forward pass."""

import pytest
import torch

from sgpo_mini.scale.distillation import add_kl_forward, padded
from sgpo_mini.student import new_student

PROMPTS, GUIDED = [[5, 6, 7], [8]], [[5, 11, 9, 6, 7], [8, 10, 10]]
COMPLETIONS = [[7, 9, 1], [9, 9, 5, 8, 1]]


@pytest.mark.parametrize("reverse", [False, True])
def test_in_half_precision_every_weight_gets_its_gradient(reverse):
    """All in the one autocast context that accelerate opens: see the same test of rollout.py."""
    model = new_student(["a b c d e f g h"], layers=2, width=32, seed=1).model
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8.0)
    add_kl_forward(model)
    ids, mask, inside = padded(PROMPTS, COMPLETIONS, 0, "cpu")
    guided_ids, guided_mask, _ = padded(GUIDED, COMPLETIONS, 0, "cpu")
    gradients = []
    for half in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            kl = model(
                input_ids=ids,
                attention_mask=mask,
                guided_ids=guided_ids,
                guided_mask=guided_mask,
                completion_mask=inside,
                reverse=reverse,
            ).kl
        kl.sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, exact in gradients[0].items():
        assert gradients[1][name] is not None, name
        alike = torch.cosine_similarity(gradients[1][name].flatten(), exact.flatten(), dim=0)
        assert alike > 0.9, name

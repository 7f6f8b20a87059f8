"""LoRA's adapters as part of the weights, while nothing is learnt."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def merged_adapters(model: nn.Module) -> Iterator[None]:
    """Layers with an adapter become plain linear layers: one product each in place of three.

    For passes without gradient. The sum rounds otherwise than the parts, by 1e-7 of a weight, and
    takes as much memory as the frozen weights. Only float32 weights are merged: in half precision
    the sum would lose most of a small adapter, and rollouts would come from another policy. An
    adapter of another kind, such as DoRA's, stays as it is.
    """
    replaced = []
    try:
        if hasattr(model, "peft_config"):
            for path, layer in [*model.named_modules()]:
                if _is_plain(layer):
                    parent, _, name = path.rpartition(".")
                    parent = model.get_submodule(parent)
                    replaced.append((parent, name, layer))
                    setattr(parent, name, _merged(layer))
        yield
    finally:
        for parent, name, layer in replaced:
            setattr(parent, name, layer)


def _is_plain(layer: nn.Module) -> bool:
    """Is it a linear layer of float32 with plain LoRA adapters of which one is in use?"""
    from peft.tuners.lora import Linear

    if type(layer) is not Linear or type(layer.base_layer) is not nn.Linear:
        return False
    other = layer.lora_variant or any(layer.lora_bias.values()) or layer.merged
    in_use = len(layer.active_adapters) == 1 and not layer.disable_adapters
    return in_use and not other and layer.base_layer.weight.dtype == torch.float32


@torch.no_grad()
def _merged(layer: nn.Module) -> nn.Linear:
    base, (adapter,) = layer.base_layer, layer.active_adapters
    plain = nn.Linear(base.in_features, base.out_features, bias=False, device="meta")
    weight = base.weight + layer.get_delta_weight(adapter)
    plain.weight, plain.bias = nn.Parameter(weight, requires_grad=False), base.bias
    return plain

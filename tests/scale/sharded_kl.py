"""The KL's forward pass under FSDP (version 2), two processes on the CPU: sharded_kl.py OUT.

accelerate itself shards on GPUs alone, so torch's `fully_shard` is called as accelerate calls it:
every layer a unit, the rest the root. Each process has rows of its own, and TRL's pass for
log-probabilities runs before ours, as in a step. The main process writes the largest difference
from the gradient that the unsharded model has, averaged over the processes' rows.
"""

import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from injected import copied, problems_of, rollouts_of
from torch.distributed.fsdp import fully_shard
from trl.trainer.utils import add_fused_lm_head

from sgpo_mini.losses import distillation_loss
from sgpo_mini.scale.distillation import add_kl_forward, padded
from sgpo_mini.student import load_student


def loss_of(model, student, problems, completions) -> torch.Tensor:
    """A loss with both passes, the sum of the log-probabilities and the KL."""
    prompts = [student.prompt_ids(p.question) for p in problems]
    guided = [student.prompt_ids(p.question, p.strategy) for p in problems]
    ids, mask, inside = padded(prompts, completions, student.pad_id, "cpu")
    guided_ids, guided_mask, _ = padded(guided, completions, student.pad_id, "cpu")
    labels = ids.masked_fill(mask == 0, -100)
    logps = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True).log_probs
    kl = model(
        input_ids=ids,
        attention_mask=mask,
        guided_ids=guided_ids,
        guided_mask=guided_mask,
        completion_mask=inside,
    ).kl
    return distillation_loss(kl, inside, delta=None).sum() - 0.1 * logps.mean()


def patched(student):
    model = copied(student).model
    add_fused_lm_head(model)
    add_kl_forward(model)
    return model


def main(out: Path) -> None:
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    student, problems = load_student("tiny", device="cpu"), problems_of(4)
    rows = rollouts_of(student, problems, 2, 1)["guided"]
    parts = [slice(0, 2), slice(2, 4)]  # of each process

    whole = patched(student)
    for part in parts:
        (loss_of(whole, student, problems[part], rows[part]) / len(parts)).backward()

    sharded = patched(student)
    for layer in sharded.model.layers:
        fully_shard(layer)
    fully_shard(sharded)
    part = parts[state.process_index]
    loss_of(sharded, student, problems[part], rows[part]).backward()
    own, expected = dict(sharded.named_parameters()), dict(whole.named_parameters())
    differences = {
        name: (own[name].grad.full_tensor() - parameter.grad).abs().max().item()
        for name, parameter in expected.items()
    }
    if state.is_main_process:
        largest = max(parameter.grad.abs().max().item() for parameter in expected.values())
        sizes = [own[name].to_local().numel() / p.numel() for name, p in expected.items()]
        told = {"difference": max(differences.values()), "largest": largest, "share": max(sizes)}
        out.write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The KL's forward pass on a model in pieces, two processes: sharded_kl.py OUT fsdp|zero3.

accelerate itself shards on GPUs alone. So FSDP's `fully_shard` is called here as accelerate calls
it, every layer a unit and the rest the root; DeepSpeed's ZeRO-3 runs on its CPU accelerator. Each
process has rows of its own; TRL's pass for log-probabilities runs before ours, as in a step, under
gradient checkpointing. The main process writes the largest difference from the gradient that the
whole model has, averaged over the processes' rows, and the largest share of a weight that it held.
"""

import json
import os
import sys
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"  # before deepspeed is imported

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


def fsdp(model) -> tuple:
    """(what is called, backward, {name: its whole gradient}, the largest share that is held)."""
    for layer in model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    named = dict(model.named_parameters())
    share = max(p.to_local().numel() / p.numel() for p in named.values())
    return (
        model,
        torch.Tensor.backward,
        lambda: {n: p.grad.full_tensor() for n, p in named.items()},
        share,
    )


def zero3(model) -> tuple:
    import deepspeed
    from deepspeed.utils import safe_get_full_grad

    zero = {"stage": 3, "stage3_param_persistence_threshold": 0}  # even small weights in pieces
    settings = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": zero}
    settings |= {"zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}
    named = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(named.values(), lr=1e-6)
    deepspeed.init_distributed(dist_backend="gloo")
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings)
    share = max(p.ds_tensor.numel() / p.ds_numel for p in named.values())
    return (
        engine,
        engine.backward,
        lambda: {n: safe_get_full_grad(p) for n, p in named.items()},
        share,
    )


def main(out: Path, kind: str) -> None:
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    student, problems = load_student("tiny", device="cpu"), problems_of(4)
    rows = rollouts_of(student, problems, 2, 1)["guided"]
    parts = [slice(0, 2), slice(2, 4)]  # of each process

    whole = patched(student)
    for part in parts:
        (loss_of(whole, student, problems[part], rows[part]) / len(parts)).backward()
    expected = {name: parameter.grad for name, parameter in whole.named_parameters()}

    model = patched(student)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    called, backward, gradients, share = {"fsdp": fsdp, "zero3": zero3}[kind](model)
    part = parts[state.process_index]
    backward(loss_of(called, student, problems[part], rows[part]))
    own = gradients()
    differences = [(own[name] - expected[name]).abs().max().item() for name in expected]
    if state.is_main_process:
        largest = max(gradient.abs().max().item() for gradient in expected.values())
        out.write_text(
            json.dumps({"difference": max(differences), "largest": largest, "share": share}),
            encoding="utf-8",
        )
    state.destroy_process_group()  # else gloo's threads may abort the process as it ends


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

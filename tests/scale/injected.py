"""One update on given rollouts, by our loop and by `SGPOTrainer`: loss, gradient and metrics.

As a script, which `accelerate launch` starts in several processes: injected.py JOBS, a JSON file
with a list of updates; the main process writes gradient and metrics of each to its folder.
"""

import copy
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import save_file
from transformers import TrainerCallback

from sgpo_mini import methods
from sgpo_mini.config import Config
from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.problems import numeric_reward
from sgpo_mini.rollout import Rollouts
from sgpo_mini.scale import SGPOConfig, SGPOTrainer, as_reward_function, to_dataset
from sgpo_mini.student import load_student

# How our settings are called by TRL; the others have one name.
NAMES = {
    "autonomous_rollouts": "num_generations",
    "clip_low": "epsilon",
    "clip_high": "epsilon_high",
    "updates_per_batch": "num_iterations",
}


def copied(student):
    return replace(student, model=copy.deepcopy(student.model))


def problems_of(count: int) -> list:
    """Problems that the shipped student solves half of the time (easy), or hardly ever (hard)."""
    easy, hard = make_problems("easy")[::8], make_problems("hard")[::8]
    return [problem for pair in zip(easy, hard, strict=False) for problem in pair][:count]


def rollouts_of(student, problems, group1: int, group2: int) -> dict:
    """The tokens of completions by hand: {autonomous, guided}; each problem has a right one.

    They are not sampled: another processor rounds otherwise, samples others, and may leave out what
    the tests need: a right one, a wrong one, one cut off.
    """
    rows = {"autonomous": [], "guided": []}
    for place, problem in enumerate(problems):
        right = student.completion_ids(problem.solution)
        wrong = student.completion_ids(problem.solution + "1")  # #### 12 becomes #### 121
        answer = student.completion_ids(f"#### {problem.answer}")
        rows["autonomous"] += _group([answer, wrong, right[:-3], right], place, group1)
        rows["guided"] += _group([right, wrong, right[:22], answer], place, group2)
    return rows


def _group(kinds: list, place: int, size: int) -> list:
    """`size` completions, the first kind first; how many are of each differs with the place."""
    return [kinds[0], *(kinds[1:][(place + i) % (len(kinds) - 1)] for i in range(size - 1))]


# ---- our loop


def our_update(student, problems, rows, reward=numeric_reward, **settings) -> dict:
    """{loss, gradients, metrics}, a gradient for each update on the batch."""
    config = Config(max_new_tokens=MAX_NEW_TOKENS, **settings)
    student.model.train(student.gradient_checkpointing)
    real, methods.sample = methods.sample, lambda *_, **__: _as_rollouts(student, rows, config)
    try:
        experience = methods.collect(student, problems, config, reward)
    finally:
        methods.sample = real
    named = {n: p for n, p in student.model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(named.values(), lr=config.learning_rate, weight_decay=0)
    gradients, losses = [], []
    for _ in range(config.updates_per_batch):
        learnt = methods.accumulate_gradient(student, experience, config)
        gradients.append({n: _gradient(p) for n, p in named.items()})
        losses.append(learnt)
        optimizer.step()
        optimizer.zero_grad()
    metrics = experience.metrics | losses[0]
    return {"loss": metrics["loss"], "gradients": gradients, "metrics": metrics}


def _as_rollouts(student, rows: dict, config: Config) -> Rollouts:
    group1, group2 = config.group_sizes()
    both = rows["autonomous"] + rows["guided"]
    count, longest = len(rows["autonomous"]) // group1, max(map(len, both))
    tokens = torch.tensor([row + [student.pad_id] * (longest - len(row)) for row in both])
    mask = torch.tensor([[1.0] * len(r) + [0.0] * (longest - len(r)) for r in both])
    places = [place // group1 for place in range(count * group1)]
    places += [count + place // group2 for place in range(count * group2)]
    cut = torch.tensor([row[-1] not in student.stop_ids for row in both])
    texts = [student.decode(row) for row in both]
    return Rollouts(torch.tensor(places), tokens, mask, cut, texts, torch.zeros_like(mask))


def _gradient(parameter) -> torch.Tensor:
    gradient = parameter.grad
    return torch.zeros_like(parameter) if gradient is None else gradient.clone()


# ---- TRL


class Gradients(TrainerCallback):
    """Keeps the gradient of each update, as it is after all processes have been averaged."""

    def __init__(self):
        self.kept = []

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.kept.append({n: _gradient(p) for n, p in named.items()})


class Injected(SGPOTrainer):
    """Does not sample: `rows` has the tokens of all completions, in the order of all processes."""

    rows: dict[str, list[list[int]]]  # autonomous (P · G1), guided (P · G2)
    losses: list[float]
    calls = 0

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations):
        rows = self.rows[("autonomous", "guided")[self.calls % 2]]
        self.calls += 1
        first = self.accelerator.process_index * len(prompt_ids)
        return rows[first : first + len(prompt_ids)], None

    def compute_loss(self, *args, **kwargs):
        loss = super().compute_loss(*args, **kwargs)
        self.losses.append(loss.item())
        return loss


def trl_update(
    student, problems, rows, folder, reward=numeric_reward, micro_batch=0, **settings
) -> dict:
    """As `our_update`, with the trainer's log as metrics; a micro-batch has so many rows."""
    count, processes = len(rows["autonomous"]), int(os.environ.get("WORLD_SIZE", 1))
    size = micro_batch or count // processes
    settings = {NAMES.get(name, name): value for name, value in settings.items()}
    steps = settings.get("num_iterations", 1)
    defaults = {
        "max_steps": steps,
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": count // processes // size,
        "max_completion_length": MAX_NEW_TOKENS,
        "shuffle_dataset": False,
        "max_grad_norm": 0,  # no clip of the norm
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
        "gradient_checkpointing": student.gradient_checkpointing,
    }
    config = SGPOConfig(str(folder), **defaults | settings)
    gradients = Gradients()
    Injected.rows, Injected.losses = rows, []
    trainer = Injected(
        student.model,
        as_reward_function(reward),
        config,
        to_dataset(problems),
        processing_class=student.tokenizer,
        callbacks=[gradients],
    )
    trainer.train()
    loss = sum(trainer.losses[: config.gradient_accumulation_steps])
    return {"loss": loss, "gradients": gradients.kept, "metrics": trainer.state.log_history[0]}


def main(jobs: list[dict]) -> None:
    torch.set_num_threads(1)
    for job in jobs:
        student = load_student("tiny", device="cpu", lora_rank=job["lora_rank"])
        problems = problems_of(job["problems"])
        done = trl_update(student, problems, job["rows"], job["out"], **job["settings"])
        if os.environ["RANK"] == "0":
            save_file(done["gradients"][0], f"{job['out']}/gradient.safetensors")
            Path(job["out"], "metrics.json").write_text(
                json.dumps(done["metrics"]), encoding="utf-8"
            )
    PartialState().destroy_process_group()  # else gloo's threads may abort the process as it ends


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

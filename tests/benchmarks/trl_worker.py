"""TRL's side of `against_trl.py`: one training step a request. Runs in TRL's own environment.

Reads the job as JSON: `trainer` (grpo, sdft), `model` (a folder), `problems` (the chat messages of
each prompt, and its strategy for sdft), `problems_a_step`, `rollouts` a problem, `tokens` (the
limit), `stops` (tokens that end a completion; empty: the model's own), `rank` (of LoRA adapters; 0:
all weights), `micro_batch` (0: all completions at once), `compact` (the LM head reads completions
alone, which TRL does on a GPU only), `gpu` (work there, in bfloat16) and `saved` (for sdft: a file
for the first step's tokens).
"""

import tempfile
from importlib.metadata import version

import torch
import trl.trainer.utils
from datasets import Dataset
from in_turn import Worker, forget_peak
from peft import LoraConfig
from safetensors.torch import save_file
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.sdft import SDFTConfig, SDFTTrainer

SAVED = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
SAVED += ("teacher_input_ids", "teacher_attention_mask")


class Done(Exception):
    pass


class OneStepARequest(TrainerCallback):
    """Waits for a request before a step, and answers it after the step."""

    def __init__(self, worker: Worker):
        self.worker, self.requests, self.step = worker, worker.requests(), None
        self.tokens = self.loss = 0

    def on_step_begin(self, args, state, control, **kwargs):
        request = next(self.requests, None)
        if request is None:
            raise Done
        torch.set_num_threads(request["threads"])
        self.step = self.worker.measured("step")
        self.step.__enter__()

    def on_step_end(self, args, state, control, **kwargs):
        self.step.__exit__(None, None, None)
        self.worker.answer(sampled_tokens=self.tokens, loss=self.loss)


def every_second(completions, **columns) -> list[float]:
    """The reward of both sides: every problem has a signal, and nothing has to be read."""
    return [float(number % 2 == 0) for number in range(len(completions))]


def main() -> None:
    worker = Worker()
    if worker.job.get("compact"):  # as on a GPU with Triton: no logits of prompts
        trl.trainer.utils._use_triton = lambda device: True
    job = worker.job
    with tempfile.TemporaryDirectory() as folder:
        trainer, settings = build(job, folder)
        turns = OneStepARequest(worker)
        trainer.add_callback(turns)
        watch(trainer, turns, job)
        forget_peak()
        parameters = sum(p.numel() for p in trainer.model.parameters())
        prompts = trainer._tokenize_prompts([problem["prompt"] for problem in job["problems"]])
        if job["trainer"] == "grpo":
            prompts = prompts[0]  # behind it come images
        versions = {name: version(name) for name in ("torch", "transformers", "trl", "accelerate")}
        worker.answer(settings=settings, versions=versions, parameters=parameters, prompts=prompts)
        try:
            trainer.train()
        except Done:
            pass


def build(job: dict, folder: str):
    """The trainer of the job, set as a careful user would, and its settings."""
    rollouts, gpu = job["problems_a_step"] * job["rollouts"], job.get("gpu", False)
    settings = {
        "per_device_train_batch_size": job["micro_batch"] or rollouts,  # all at once, if they fit
        "gradient_accumulation_steps": rollouts // (job["micro_batch"] or rollouts),
        "num_generations": job["rollouts"],
        "max_completion_length": job["tokens"],
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "shuffle_dataset": False,
        "learning_rate": 1e-12,  # the arithmetic of an update, and the same student in every round
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "gradient_checkpointing": False,
        "bf16": gpu,
        "model_init_kwargs": {"dtype": "bfloat16" if gpu else "float32"},
        "use_cpu": not gpu,
        "dataloader_pin_memory": False,
        "max_steps": 1_000_000,
        "logging_strategy": "no",
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "output_dir": folder,
        "seed": 0,
    }
    if job["stops"]:
        settings["generation_kwargs"] = {"eos_token_id": job["stops"]}
    rows = {"prompt": [problem["prompt"] for problem in job["problems"]]}
    if job["trainer"] == "sdft":
        settings |= {
            "distillation_mode": "full_logits",
            "distillation_alpha": 0.0,  # KL(guided || autonomous)
            "teacher_model_kind": "live",  # the same weights, as in SGPO
            "generate_from_teacher": True,
            "teacher_prompt_template": "{prompt}\n\nStrategy:\n{privileged_context}",
        }
        rows["privileged_context"] = [problem["strategy"] for problem in job["problems"]]
        trainer = SDFTTrainer(
            job["model"], SDFTConfig(**settings), train_dataset=Dataset.from_dict(rows)
        )
    else:
        settings |= {
            "beta": 0.0,  # no reference model
            "loss_type": "grpo",
            "scale_rewards": "group",
            "epsilon": 0.2,
            "epsilon_high": 0.28,
            "num_iterations": 1,
            "mask_truncated_completions": False,
        }
        trainer = GRPOTrainer(
            job["model"],
            reward_funcs=every_second,
            args=GRPOConfig(**settings),
            train_dataset=Dataset.from_dict(rows),
            peft_config=adapters_of(job["rank"]),
        )
    if job["stops"]:
        trainer.eos_token_ids = job["stops"]
    untold = ("output_dir", "generation_kwargs")
    return trainer, {name: value for name, value in settings.items() if name not in untold}


def adapters_of(rank: int) -> LoraConfig | None:
    """As `load_student` has them."""
    if not rank:
        return None
    settings = {"target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    return LoraConfig(r=rank, lora_alpha=2 * rank, **settings)


def watch(trainer, turns: OneStepARequest, job: dict) -> None:
    """Measure the rollout apart from the rest of the step, and keep what the step has made."""
    rollout = {"grpo": "_generate_and_score_completions", "sdft": "_prepare_training_batch"}
    sample, compute_loss = getattr(trainer, rollout[job["trainer"]]), trainer.compute_loss

    def sample_and_count(inputs):
        with turns.worker.measured("rollout"):
            batch = sample(inputs)
        turns.tokens = int(batch["completion_mask"].sum())
        return batch

    def compute_and_keep(model, inputs, *args, **kwargs):
        loss = compute_loss(model, inputs, *args, **kwargs)
        turns.loss = loss.item()
        if job["trainer"] == "sdft" and job["saved"]:  # the first step is not counted
            batch = {name: value.contiguous() for name, value in inputs.items() if name in SAVED}
            save_file(batch, job["saved"])
            job["saved"] = ""
        return loss

    setattr(trainer, rollout[job["trainer"]], sample_and_count)
    trainer.compute_loss = compute_and_keep


if __name__ == "__main__":
    main()

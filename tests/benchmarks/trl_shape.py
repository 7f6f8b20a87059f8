"""TRL's GRPO at the shape of `real_shape.py`, on a GPU: seconds a step, tokens a second, memory.

    python tests/benchmarks/trl_shape.py --micro-batch 8 --out FILE.json

Needs TRL. The same random weights of Qwen2.5-0.5B's shape, problems, rollouts (8 × 12 of 256
tokens) and adapters as `real_shape.py`, set as a careful user would: bfloat16, no reference model,
the largest micro-batch that the memory allows. Every second completion is right, so that no step is
spared. The first step is warm-up.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from real_shape import build
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from sgpo_mini.problems import load_gsm8k

PROBLEMS, ROLLOUTS = 8, 12


class Clock(TrainerCallback):
    """Seconds of each step."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.began = now()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(now() - self.began)


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def every_second(completions, **columns) -> list[float]:
    return [float(number % 2 == 0) for number in range(len(completions))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--micro-batch", type=int, default=8, help="completions")
    parser.add_argument("--lora-rank", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", default="", help="JSON file")
    options = parser.parse_args()
    on_gpu, rank = torch.cuda.is_available(), options.lora_rank
    prompts = [[{"role": "user", "content": p.question}] for p in load_gsm8k("train")[:200]]
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "model", options.layers, options.hidden)
        settings = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=options.micro_batch,
            gradient_accumulation_steps=PROBLEMS * ROLLOUTS // options.micro_batch,
            num_generations=ROLLOUTS,
            max_completion_length=options.new_tokens,
            temperature=1.0,
            top_k=0,
            beta=0.0,  # no reference model
            loss_type="grpo",
            epsilon_high=0.28,
            learning_rate=1e-12,
            gradient_checkpointing=False,
            bf16=on_gpu,
            use_cpu=not on_gpu,
            max_steps=options.steps + 1,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        adapters = {"target_modules": "all-linear", "task_type": "CAUSAL_LM"}
        clock = Clock()
        trainer = GRPOTrainer(
            str(Path(folder) / "model"),
            reward_funcs=every_second,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, **adapters),
            callbacks=[clock],
        )
        trainer.train()
    seconds = statistics.median(clock.seconds[1:])
    tokens = PROBLEMS * ROLLOUTS * options.new_tokens
    report = vars(options) | {
        "device": torch.cuda.get_device_name() if on_gpu else "CPU",
        "torch": torch.__version__,
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds, 1),  # of the whole step
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else None,
    }
    print(json.dumps(report, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

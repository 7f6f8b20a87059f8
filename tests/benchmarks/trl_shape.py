"""TRL's GRPO at the shape of `real_shape.py`, on a GPU: seconds a step, tokens a second, memory.

    python tests/benchmarks/trl_shape.py --micro-batch 8 --out FILE.json

Needs TRL. The same random weights of Qwen2.5-0.5B's shape, problems, rollouts (8 × 12 of 256
tokens) and adapters as `real_shape.py`, and the settings of `trl_worker.py`. The first step is
warm-up.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from real_shape import build as build_model
from transformers import TrainerCallback
from trl_worker import build

from sgpo_mini.problems import load_gsm8k

PROBLEMS, ROLLOUTS = 8, 12


class Clock(TrainerCallback):
    """Seconds of each step; ends the training after so many."""

    def __init__(self, steps: int):
        self.steps, self.began = steps, 0.0
        self.seconds: list[float] = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.began = now()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(now() - self.began)
        control.should_training_stop = len(self.seconds) == self.steps


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


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
    on_gpu = torch.cuda.is_available()
    prompts = [[{"role": "user", "content": p.question}] for p in load_gsm8k("train")[:200]]
    with tempfile.TemporaryDirectory() as folder:
        build_model(Path(folder) / "model", options.layers, options.hidden)
        job = {
            "trainer": "grpo",
            "model": str(Path(folder) / "model"),
            "problems": [{"prompt": prompt} for prompt in prompts],
            "problems_a_step": PROBLEMS,
            "rollouts": ROLLOUTS,
            "tokens": options.new_tokens,
            "stops": [],  # random weights seldom stop by themselves
            "rank": options.lora_rank,
            "micro_batch": options.micro_batch,
            "gpu": on_gpu,
        }
        trainer, _ = build(job, folder)
        clock = Clock(options.steps + 1)
        trainer.add_callback(clock)
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

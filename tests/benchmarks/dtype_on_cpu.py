"""Tokens a second of a rollout and seconds of an update on a CPU: float32 beside bfloat16.

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/dtype_on_cpu.py

SmolLM2-135M's shape with random weights, so that every completion runs to the limit: 4 problems, 12
completions each, 64 tokens. The dtypes take turns; medians of the rounds.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from smollm_shape import build

from sgpo_mini.rollout import Rollouts, sample, score
from sgpo_mini.student import Student, load_student

PROMPT, TOKENS, PROBLEMS, GROUP = 110, 64, 4, 12


def measure(student: Student) -> tuple[float, float]:
    """(tokens a second of a rollout, seconds of a forward and backward pass over 12 of them)."""
    torch.manual_seed(0)
    prompts = torch.randint(40, 300, (PROBLEMS, PROMPT)).tolist()
    start = time.perf_counter()
    drawn = sample(student, prompts, GROUP, max_new_tokens=TOKENS)
    rollout = time.perf_counter() - start
    some: Rollouts = drawn.select(range(GROUP))
    start = time.perf_counter()
    score(student, prompts, some).sum().backward()
    student.model.zero_grad()
    return drawn.mask.sum().item() / rollout, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
        print("weights trained   dtype      tokens a second   seconds of an update")
        for rank in (16, 0):
            students = {
                dtype: load_student(folder, device="cpu", lora_rank=rank, dtype=dtype)
                for dtype in ("float32", "bfloat16")
            }
            measured = {dtype: [] for dtype in students}
            for _ in range(options.rounds + 1):  # the first one warms up
                for dtype, student in students.items():
                    measured[dtype].append(measure(student))
            for dtype, rounds in measured.items():
                tokens, update = map(statistics.median, zip(*rounds[1:], strict=True))
                name = f"LoRA, rank {rank}" if rank else "all"
                print(f"{name:17} {dtype:9} {tokens:16.0f} {update:22.2f}")


if __name__ == "__main__":
    main()

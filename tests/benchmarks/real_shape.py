"""Seconds a step, tokens a second and peak memory at the shape of Qwen2.5-0.5B, random weights.

    SGPO_GSM8K_DIR=... SGPO_TOKENIZER_DIR=... python tests/benchmarks/real_shape.py --out FILE.json

Random weights do the same work as trained ones, except that they seldom stop: every completion runs
to the limit, and every second one counts as right, so that no problem lacks a signal or a target.
This is the worst case. Both LoRA and full fine-tuning; the first step is warm-up.
`--layers 2 --hidden 64` tries the script itself on a CPU.
"""

import argparse
import json
import os
import statistics
import tempfile
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch
from our_worker import as_if_finished
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from sgpo_mini import methods
from sgpo_mini.problems import load_gsm8k
from sgpo_mini.strategies import Strategy
from sgpo_mini.student import load_student
from sgpo_mini.support.files import read_rows
from sgpo_mini.training import Config, train

STRATEGY = Strategy(
    problem_type="a story with several quantities",
    approach="work from what is known towards what is asked",
    steps=("Find the first total", "Apply the change to it", "State what is asked for"),
)


def build(folder: Path, layers: int, hidden: int) -> None:
    """Save a randomly initialised model of the shape, with the real tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(os.environ["SGPO_TOKENIZER_DIR"])
    heads = max(hidden // 64, 2)
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=hidden,
        intermediate_size=hidden * 4864 // 896,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(folder: Path, options: argparse.Namespace, lora_rank: int) -> dict:
    problems = [replace(p, strategy=STRATEGY.text) for p in load_gsm8k("train")[:200]]
    told = count()
    student = load_student(
        folder, lora_rank=lora_rank, gradient_checkpointing=options.checkpointing
    )
    if student.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as out:
        config = Config(
            steps=options.steps + 1,
            max_new_tokens=options.new_tokens,
            micro_batch_tokens=options.micro_batch_tokens,
            lora_rank=lora_rank,
            out=f"{out}/run",
            checkpoint_every=10_000,
        )
        train(student, problems, config, reward=lambda text, problem: float(next(told) % 2 == 0))
        rows = read_rows(f"{out}/run/timings.jsonl")[1:]
    names = ("seconds", "rollout_seconds", "update_seconds", "sampled_tokens_per_second")
    result = {name: round(statistics.median(row[name] for row in rows), 3) for name in names}
    result["peak_memory_gib"] = round(max(row["peak_memory_bytes"] for row in rows) / 2**30, 2)
    return {"lora_rank": lora_rank, "steps": len(rows), **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--micro-batch-tokens", type=int, default=4096)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--memory-gib", type=float, help="fail above it: 15 is a free Colab GPU's")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--ranks", type=int, nargs="+", default=[32, 0], help="of LoRA; 0: full")
    parser.add_argument("--out", default="", help="JSON file")
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    if options.memory_gib:
        if device == "CPU":
            parser.error("--memory-gib limits a GPU's memory, and there is no GPU here")
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(options.memory_gib * 2**30 / whole, 1.0))
    methods.sample = as_if_finished(methods.sample)  # cut off by intention: no reward is lost
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), options.layers, options.hidden)
        runs = [measure(Path(folder), options, rank) for rank in options.ranks]
    report = {"device": device, "torch": torch.__version__, **vars(options), "runs": runs}
    print(json.dumps(report, indent=1))
    if options.out:
        Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

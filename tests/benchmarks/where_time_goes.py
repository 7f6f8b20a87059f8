"""Where a step of GRPO spends its time at SmolLM2-135M's shape, and what merged adapters save.

    python tests/benchmarks/where_time_goes.py [--threads 2] [--problems 4] [--tokens 24]

Random weights, LoRA 16, the problems and prompts of `against_trl.py`'s case `135m`. Prints the
shares of matrix products and of attention in the CPU time of a rollout and of an update
(torch.profiler), and the seconds of a rollout with adapters and with merged ones, in turn.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import smollm_shape
import torch
from against_trl import ROLLOUTS, batch
from our_worker import as_if_finished, optimizer_of
from torch.profiler import ProfilerActivity, profile

from sgpo_mini import load_student, methods, rollout
from sgpo_mini.config import Config
from sgpo_mini.problems import Problem
from sgpo_mini.supervised import gradient_scaler
from sgpo_mini.training import _update

STORIES, AT_ONCE, CONTEXT = 3, 8, 140  # of the case `135m`; a prompt has about CONTEXT tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--problems", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=24)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        smollm_shape.build(Path(folder))
        student = load_student(folder, lora_rank=16)
    student.stop_ids = (len(student.tokenizer),)  # a token that doesn't exist: lengths are forced
    methods.sample = as_if_finished(methods.sample)
    problems = [Problem(**told) for told in batch(0, STORIES)][: options.problems]
    config = Config(method="grpo", autonomous_rollouts=ROLLOUTS, guided_rollouts=0, lora_rank=16)
    config.max_new_tokens, config.learning_rate = options.tokens, 1e-12
    config.micro_batch_tokens = AT_ONCE * (CONTEXT + options.tokens)
    drawn = count()

    def collect() -> methods.Experience:
        torch.manual_seed(0)
        reward = lambda text, problem: float(next(drawn) % 2 == 0)  # noqa: E731
        return methods.collect(student, problems, config, reward)

    experience = collect()
    given = student, optimizer_of(student, config), gradient_scaler(student), experience, config
    _update(*given)
    print(f"rollout: {shares(collect)}")
    print(f"update: {shares(lambda: _update(*given))}", flush=True)
    merged = rollout.merged_adapters
    for name, context in [("adapters", lambda model: nullcontext()), ("merged", merged)] * 2:
        rollout.merged_adapters = context
        begin = time.perf_counter()
        collect()
        print(f"rollout, {name}: {time.perf_counter() - begin:.1f} s", flush=True)


def shares(work: Callable[[], object]) -> str:
    with profile(activities=[ProfilerActivity.CPU]) as found:
        work()
    own = {row.key: row.self_cpu_time_total for row in found.key_averages()}
    whole = sum(own.values())
    products = own["aten::mm"] / whole
    attention = sum(t for key, t in own.items() if "dot_product" in key) / whole
    return f"matrix products {products:.0%}, attention {attention:.0%}, all else " + (
        f"{1 - products - attention:.0%}"
    )


if __name__ == "__main__":
    main()

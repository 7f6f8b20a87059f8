"""A step of GRPO and SGPO beside TRL's GRPOTrainer, and our KL beside TRL's self-distillation.

    python3 -m venv /opt/trl
    /opt/trl/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    /opt/trl/bin/pip install trl==1.16.0 transformers==5.23.0
    SGPO_TOKENIZER_DIR=... python tests/benchmarks/against_trl.py --trl-python /opt/trl/bin/python

Same weights, prompts, rollouts, completion lengths, rewards, float32 and threads; each side in a
process of its own, the two in turn. Three students: the shipped one; random weights of Qwen2's
architecture with the tokenizer in SGPO_TOKENIZER_DIR (Qwen2.5's: 152k tokens); and random weights
of SmolLM2-135M's shape, all of them trained or adapters of rank 16. Lengths are forced by a stop
token that does not exist; the shipped student is measured with its own lengths too, and the 135M
with lengths drawn by chance (one token in 40 stops).
Every second completion is right, so that no problem lacks a signal and no rollout can be left out;
what real rewards leave out is a row of its own, and so is our step without its habit of computing
equal completions once. "TRL GRPO, head on completions" is kinder than TRL is on a CPU, where its
fused head computes logits of the prompts as well: at 152k and 49k it is the one compared with. TRL
takes all completions at once, the largest micro-batch that fits; rows with a small one show what
it saves in memory. At 135M both sides learn 8 completions at a time: with more the processes do not
fit in 24 GB side by side.
Writes sgpo_mini/results/against-trl.json and prints its table.

`--quick` tries everything in a minute. `--table` prints the table of the file again. The 135M takes
an hour of two cores, so it is measured only when it is asked for:

    python tests/benchmarks/against_trl.py --cases 135m --threads 2 --rounds 3
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from contextlib import ExitStack
from itertools import chain
from operator import truediv
from pathlib import Path

import smollm_shape
import torch
import transformers
from in_turn import Process
from real_shape import build
from transformers import AutoConfig, PretrainedConfig

from sgpo_mini.mini_gsm.pretraining import MAX_NEW_TOKENS
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.strategies import autonomous_prompt
from sgpo_mini.student import TINY_STUDENT
from sgpo_mini.training import batch_of_step

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "sgpo_mini" / "results" / "against-trl.json"
PROBLEMS, ROLLOUTS, GUIDED = 8, 12, 4
BATCHES = 8  # of different problems, where lengths are the student's own
QUIET = {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore"}
QUIET |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "no"}
# Threads that wait for each other in a loop burn the time of other work: then they wait asleep.
BUSY = {"OMP_WAIT_POLICY": "PASSIVE"}
WALL, CPU = 0, 1
RIVAL = "TRL's GRPO"  # the row that a case compares with
TRL, KINDER = "TRL GRPO", "TRL GRPO, head on completions"
SMALL, SMALL_KL = f"{KINDER}, micro-batch 8", "TRL full forward KL, micro-batch 4"
SIDES = {  # a row's name -> (what it is compared with, what it runs)
    TRL: ((), {"trainer": "grpo"}),
    KINDER: ((), {"trainer": "grpo", "compact": True}),
    SMALL: ((), {"trainer": "grpo", "compact": True, "micro_batch": 8}),
    "our GRPO": ((RIVAL,), {"method": "grpo", "rollouts": (ROLLOUTS, 0)}),
    "our GRPO, equals computed again": (
        (RIVAL,),
        {"method": "grpo", "rollouts": (ROLLOUTS, 0), "again": True},
    ),
    "our SGPO": (
        (RIVAL,),
        {"method": "sgpo", "rollouts": (ROLLOUTS - GUIDED, GUIDED)},
    ),
    "our SGPO, real rewards": (
        (RIVAL,),
        {"method": "sgpo", "rollouts": (ROLLOUTS - GUIDED, GUIDED), "real_rewards": True},
    ),
    "TRL full forward KL": ((), {"trainer": "sdft"}),
    SMALL_KL: ((), {"trainer": "sdft", "micro_batch": 4}),
    "our full forward KL": (
        ("TRL full forward KL",),
        {"method": "distillation", "rollouts": (0, GUIDED)},
    ),
    "transformers' generate": ((), {"method": "generate"}),
    "our decode": (("transformers' generate",), {"method": "decode"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trl-python", default="/opt/trl/bin/python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--hidden", type=int, default=128, help="width at the 152k vocabulary")
    parser.add_argument("--layers", type=int, default=2, help="layers at the 152k vocabulary")
    parser.add_argument("--cases", nargs="+", help="words in the names of the cases to measure")
    parser.add_argument("--sides", nargs="+", help="words in the names of the sides to measure")
    parser.add_argument("--busy", action="store_true", help="the machine has other work too")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.environment = BUSY if options.busy else {}
    if options.quick:
        options.rounds, options.hidden, options.layers, options.threads = 1, 64, 1, [2]
    if not options.table:
        with tempfile.TemporaryDirectory() as folder:
            results = measure(options, Path(folder))
    else:
        results = json.loads(options.out.read_text(encoding="utf-8"))
    for clock, name in ((WALL, "wall seconds"), (CPU, "CPU seconds of all threads")):
        print(f"\n{name}\n\n{table(results, clock)}")


def measure(options: argparse.Namespace, folder: Path) -> dict:
    shipped, wide = str(TINY_STUDENT), str(folder / "wide")
    short = 4 if options.quick else None
    small = str(folder / "135m")
    cases = {  # name -> (model, tokens, forced, rank of LoRA)
        "shipped student, lengths forced": (shipped, short or 24, True, 0),
        "shipped student, its own lengths": (shipped, short or MAX_NEW_TOKENS, False, 0),
        "152k vocabulary, lengths forced": (wide, short or 12, True, 0),
    }
    if options.quick or options.cases:
        cases |= {
            "135m, LoRA 16, lengths forced": (small, short or 64, True, 16),
            "135m, full, lengths forced": (small, short or 64, True, 0),
            "135m, LoRA 16, random lengths": (small, short or 64, False, 16),
            "135m, full, random lengths": (small, short or 64, False, 0),
        }
    results = {"command": "python tests/benchmarks/against_trl.py", "cases": {}}
    if (options.cases or options.sides) and options.out.exists():
        results = json.loads(
            options.out.read_text(encoding="utf-8")
        )  # measured again is what was asked for
    here = machine() | {"environment": options.environment}
    rate = matrix_rate(options)
    for name, (model, tokens, forced, rank) in cases.items():
        if not chosen([name], options.cases):
            continue
        if model == wide:
            build(folder / "wide", options.layers, options.hidden)
        if model == small and not Path(small).exists():
            smollm_shape.build(Path(small), *((1, 64) if options.quick else ()))
        case = results["cases"].get(name, {})
        if case.get("machine") != here:  # sides are compared only on one machine
            case = {"rows": {}}
        case |= {"machine": here, "matrix_rate": rate, "tokens": tokens, "forced": forced}
        results["cases"][name] = case
        stories = 3 if model == small else 1
        batches = [batch(step, stories) for step in range(1 if forced else BATCHES)]
        config = AutoConfig.from_pretrained(model)
        # The tokens that stop a completion: one that does not exist, some, or the student's own.
        stops = [config.vocab_size] if forced else smollm_shape.STOPS if model == small else []
        job = {"model": model, "tokens": tokens, "forced": forced, "stops": stops, "rank": rank}
        job["at_once"] = 8 if model == small else 0
        # On a CPU, TRL computes logits of the prompts too. With a large vocabulary that takes
        # minutes: once.
        trl, alone = (KINDER, [TRL]) if model == wide else (TRL, [])
        if model == small:
            trl, alone = KINDER, [TRL] * (forced and rank == 0)
        case["rival"] = trl
        other = "our GRPO, equals computed again" if forced else "our SGPO, real rewards"
        steps = [trl, "our GRPO", "our SGPO", other] + [KINDER, SMALL] * forced
        steps = list(dict.fromkeys(steps))
        kl = ["TRL full forward KL", "our full forward KL", SMALL_KL] * forced
        decoding = ["transformers' generate", "our decode"]
        if model == small:
            steps, kl, decoding = [KINDER, "our GRPO", "our SGPO"], [], []
        for group in (steps, kl, decoding, alone):
            if group and chosen(group, options.sides):
                for row in in_turn(group, job, batches, options, folder):
                    case["rows"][row["name"]] = row
        if forced and "our SGPO" in case["rows"]:
            case["arithmetic"] = arithmetic(config, case["rows"], tokens, 2 if rank else 3)
        if not options.quick:  # after every case: an interruption loses one
            options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: measured", flush=True)
    return results


def chosen(names: list[str], words: list[str] | None) -> bool:
    return not words or any(word in name for name in names for word in words)


def batch(step: int, stories: int = 1) -> list[dict]:
    """Problems of mini-GSM's `train`, in the order in which a run with seed 0 draws them.

    Each question repeats its story `stories` times: three make a prompt of about 120 tokens.
    """
    drawn = batch_of_step(make_problems("train"), PROBLEMS, seed=0, step=step)
    fields = ("id", "question", "answer", "strategy")
    rows = [{name: getattr(problem, name) for name in fields} for problem in drawn]
    return [row | {"question": " ".join([row["question"]] * stories)} for row in rows]


def in_turn(
    names: list[str], base: dict, batches: list, options: argparse.Namespace, folder: Path
) -> list[dict]:
    """Every side in a process of its own, one step of each, round after round."""
    with ExitStack() as stack:
        workers, rows = {}, {}
        for name in names:
            trl = name.startswith("TRL")
            python, script = (options.trl_python, "trl") if trl else (sys.executable, "our")
            job = job_of(name, base, batches, folder)
            worker = Process(python, HERE / f"{script}_worker.py", job, options.environment | QUIET)
            workers[name] = stack.enter_context(worker)
        for name, worker in workers.items():
            rows[name] = {"name": name, **worker.answer(), "measures": []}
        for name, worker in workers.items():
            rows[name]["first"] = worker.ask(threads=max(options.threads))  # not counted
            told(name, rows[name]["first"])
        for _ in range(1 if names == [TRL] else options.rounds):
            for threads in options.threads:
                load = os.getloadavg()[0]
                for name, worker in workers.items():
                    answer = worker.ask(threads=threads)
                    told(name, answer)
                    rows[name]["peak_memory"] = answer.pop("peak_memory")
                    rows[name]["measures"].append({"threads": threads, "load": load, **answer})
    check_equal_work(rows)
    for row in rows.values():  # of the prompts their lengths are enough for the file
        for kind in {"prompts", "guided_prompts"} & row.keys():
            row[kind] = [len(ids) for ids in row[kind]]
    return list(rows.values())


def told(name: str, answer: dict) -> None:
    """Progress: each step's wall seconds, as they come."""
    seconds = {part: round(times[WALL], 2) for part, times in answer["seconds"].items()}
    print(f"  {name}: {seconds}", flush=True)


def job_of(name: str, base: dict, batches: list, folder: Path) -> dict:
    """What a worker is told. TRL's gets chat messages, ours problems: the same text."""
    job = {**base, **SIDES[name][1], "saved": str(folder / "tokens.safetensors")}
    if "trainer" not in job:
        return {"rollouts": (ROLLOUTS, 0), "real_rewards": False, "batches": batches, **job}
    job["rollouts"] = GUIDED if job["trainer"] == "sdft" else ROLLOUTS
    job = {"micro_batch": job["at_once"], **job, "problems_a_step": PROBLEMS}
    job["problems"] = [
        {
            "prompt": autonomous_prompt(problem["question"]),
            "strategy": problem["strategy"],
        }
        for problem in chain.from_iterable(batches)
    ]
    return job


def check_equal_work(rows: dict[str, dict]) -> None:
    """Both sides must have done the same, or the comparison says nothing."""
    prompts = {json.dumps(row["prompts"]) for row in rows.values() if "prompts" in row}
    if len(prompts) > 1:
        raise RuntimeError("the two sides have read other prompts")
    if {"our full forward KL", "TRL full forward KL"} <= rows.keys():
        ours, theirs = (rows[f"{who} full forward KL"]["first"]["loss"] for who in ("our", "TRL"))
        if abs(ours - theirs) > 1e-7 + 1e-4 * theirs:
            raise RuntimeError(f"forward KL is {ours} here and {theirs} in TRL")


def machine() -> dict:
    names = [
        line
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if "model name" in line
    ]
    return {
        "processor": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def matrix_rate(options: argparse.Namespace) -> dict[str, float]:
    """Operations a second of a large float32 matrix product, the best of many, by threads."""
    job = {"method": "matrices", "model": str(TINY_STUDENT), "tokens": 1, "forced": False}
    job |= {"rollouts": (2, 0), "real_rewards": False, "batches": [[]], "stops": []}
    job |= {"rank": 0, "at_once": 0}
    rates = {}
    with Process(
        sys.executable, HERE / "our_worker.py", job, options.environment | QUIET
    ) as worker:
        worker.answer()
        for count in options.threads:
            answers = [worker.ask(threads=count) for _ in range(20)]
            best = min(answer["seconds"]["step"][WALL] for answer in answers)
            rates[str(count)] = answers[0]["operations"] / best
    return rates


def arithmetic(config: PretrainedConfig, rows: dict[str, dict], new: int, passes: int = 3) -> dict:
    """Operations that a step can't do without, were every product as fast as the machine's best.

    rows: each side's, for the lengths of its prompts and how many completions were distinct; new:
    tokens of a completion. A prompt is read once, equal completions once in the update (TRL, and
    our row "equals computed again": every one), and the backward pass costs twice the forward
    pass, or once if the weights are frozen (`passes` 2 in place of 3). Only matrix products.
    """
    prompts, guided = (rows["our SGPO"][kind] for kind in ("prompts", "guided_prompts"))

    def distinct(name: str) -> float:
        """Completions a problem that had to be learnt, the median over rounds."""
        works = [measure["work"]["distinct_with_signal"] for measure in rows[name]["measures"]]
        return statistics.median(works) / len(prompts)

    width, layers = config.hidden_size, config.num_hidden_layers
    size = getattr(config, "head_dim", None) or width // config.num_attention_heads
    queries, keys = config.num_attention_heads * size, config.num_key_value_heads * size
    weights = layers * width * (2 * queries + 2 * keys + 3 * config.intermediate_size)

    def read(count: int, before: int = 0, head: bool = True) -> int:
        """Operations of `count` tokens behind others; head: each predicts its next."""
        attended = count * before + count * (count + 1) // 2
        operations = 2 * count * weights + 4 * attended * layers * queries
        return operations + 2 * count * width * config.vocab_size * head

    def group(lengths: list[int], size: float) -> float:
        """Operations of `size` completions of every prompt."""
        before = (length - 1 for length in lengths)  # the last token predicts the first
        return sum(read(n, head=False) + size * read(new, n) for n in before)

    rivals, targets = GUIDED // 2, 1  # of a problem, with every second completion right
    all_of_them = {"rollout": group(prompts, ROLLOUTS), "update": passes * group(prompts, ROLLOUTS)}
    alone = ROLLOUTS - GUIDED
    sgpo = {
        "rollout": group(prompts, alone) + group(guided, GUIDED) + group(prompts, rivals),
        "update": passes * group(prompts, distinct("our SGPO"))
        + group(guided, targets)
        + passes * group(prompts, targets),
    }
    floors = dict.fromkeys((TRL, KINDER, SMALL, "our GRPO, equals computed again"), all_of_them)
    floors["our SGPO"] = sgpo
    if "our GRPO" in rows:
        floors["our GRPO"] = all_of_them | {"update": passes * group(prompts, distinct("our GRPO"))}
    return floors


def table(results: dict, clock: int) -> str:
    """Medians over rounds; each ratio is the median of the rounds' ratios."""
    columns = ["threads", "rollout s", "update s", "step s", "÷ TRL: rollout", "update", "step"]
    columns += ["range", "tokens/s", "peak MiB", "above start", "÷ floor"]
    lines = []
    for name, case in results["cases"].items():
        lines += ["", f"**{name}** ({case['tokens']} tokens at most)", ""]
        lines += [f"| {' | '.join(['', *columns])} |", f"|{' --- |' * (len(columns) + 1)}"]
        for side, row in case["rows"].items():
            for threads in sorted({measure["threads"] for measure in row["measures"]}):
                cells = cells_of(case, side, threads, clock)
                lines.append(f"| {side} | {threads} | {' | '.join(cells)} |")
    return "\n".join(lines[1:])


def cells_of(case: dict, name: str, threads: int, clock: int) -> list[str]:
    """One line of the table behind the number of threads."""
    row, rivals = case["rows"][name], SIDES[name][0]
    rivals = [case["rival"] if rival == RIVAL else rival for rival in rivals]
    rivals = [rival for rival in rivals if rival in case["rows"]]
    mine = times_of(row, threads, clock)
    theirs = times_of(case["rows"][rivals[0]], threads, clock) if rivals else {}
    parts = ("rollout", "update", "step")
    cells = [f"{statistics.median(mine[part]):.3f}" if part in mine else "" for part in parts]
    ratios = {part: list(map(truediv, mine[part], theirs[part])) for part in mine if part in theirs}
    cells += [f"{statistics.median(ratios[part]):.2f}" if part in ratios else "" for part in parts]
    last = list(ratios.values())[-1:]  # of the step, or of the only part
    cells += [f"{min(row):.2f} to {max(row):.2f}" for row in last] or [""]
    tokens = [m["sampled_tokens"] for m in row["measures"] if m["threads"] == threads]
    rates = map(truediv, tokens, mine.get("rollout", []))
    cells.append(f"{statistics.median(rates):,.0f}" if "rollout" in mine else "")
    cells += [
        f"{size / 2**20:,.0f}" for size in (row["peak_memory"], row["peak_memory"] - row["memory"])
    ]
    least = case.get("arithmetic", {}).get(name)
    if not least:
        return [*cells, ""]
    floor = sum(least.values()) / case["matrix_rate"][str(threads)]
    floor *= threads if clock == CPU else 1
    return [*cells, f"{statistics.median(mine['step']) / floor:.1f}"]


def times_of(row: dict, threads: int, clock: int) -> dict[str, list[float]]:
    """Seconds of every round by part, in order; the update is what the rollout leaves of a step."""
    seconds = [m["seconds"] for m in row["measures"] if m["threads"] == threads]
    times = {part: [one[part][clock] for one in seconds] for part in sorted(seconds[0])}
    if "step" in times:
        times["update"] = [a - b for a, b in zip(times["step"], times["rollout"], strict=True)]
    return {part: times[part] for part in ("rollout", "update", "step") if part in times}


if __name__ == "__main__":
    main()

"""The tables of run.py's study, made from what its runs logged and answered.

    python tests/real_student/tables.py runs/real-student

Writes OUT/report.md and returns its path; what has not been run yet is left out. Accuracies are in
per cent. With several seeds, intervals are Student's t over seeds and differences are paired by
seed; a second interval is a bootstrap over problems of the seeds' mean difference.
"""

import gzip
import json
import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from sgpo_mini.evaluation import pass_at_k
from sgpo_mini.study.evaluations import mean
from sgpo_mini.support.files import read_rows
from sgpo_mini.support.intervals import confidence_interval, mean_difference
from sgpo_mini.support.markdown import markdown

MEASURE = "logs/measure-*.txt"
ORDER = ("grpo", "sgpo", "sft")
LABELS = {
    "greedy": "two calculations, greedy",
    "avg4": "two calculations, avg@4",
    "new": "three calculations, greedy",
    "whole": "whole test split, greedy",
}
LOGGED = "p_auto p_guide alpha empty_c kl masked_by_delta truncated entropy completion_tokens"


def rows_of(path: Path) -> list[dict]:
    """The rows of a JSONL file, or of NAME.gz, which pack.py writes."""
    packed = path.with_name(path.name + ".gz")
    if packed.is_file():
        lines = gzip.decompress(packed.read_bytes()).decode().splitlines()
        return [json.loads(line) for line in lines]
    return read_rows(path)


def is_there(path: Path) -> bool:
    return path.is_file() or path.with_name(path.name + ".gz").is_file()


def by_problem(path: Path) -> dict[str, list[bool]]:
    """Whether each completion of each problem is right."""
    found: dict[str, list[bool]] = {}
    for row in rows_of(path):
        found.setdefault(row["id"], []).append(row["correct"])
    return found


def accuracy_of(path: Path) -> float:
    return round(mean([mean(row) for row in by_problem(path).values()]), 4)


def estimate(values: Sequence[float], over: str) -> str:
    """The mean in per cent with its 95 % interval; with a single seed, the mean alone."""
    told = f"{100 * mean(values):.1f}"
    if over == "seeds" and len(values) < 2:
        return told
    if over == "differences":  # of the same problems
        _, (low, high) = mean_difference(values)
    else:
        low, high = confidence_interval(values, over)
    return f"{told} ({100 * low:.1f} to {100 * high:.1f})"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return markdown([[str(cell) for cell in row] for row in (head, *rows)])


def report(out: Path) -> Path:
    study = json.loads((out / "settings.json").read_text(encoding="utf-8"))
    parts = ["# The real student on GSM8K", warm_up(out), measures(out), rates(out)]
    parts += [test_accuracy(out, study), by_step(out, study), by_part(out, study)]
    parts += [logged(out, study), kl(out)]
    path = out / "report.md"
    path.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> dict | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def warm_up(out: Path) -> str:
    if not (choice := read(out / "warm-up.json")):
        return ""
    if not choice["tried"]:
        told = f"Warm-up: {choice['epochs']} epochs; rollouts at temperature"
        return f"{told} {choice['temperature']}, chosen before the study."
    rows = [
        [t["epochs"], t["temperature"], f"{100 * t['unguided']:.1f}", f"{100 * t['guided']:.1f}"]
        for t in choice["tried"]
    ]
    told = f"Chosen: {choice['epochs']} epochs, rollouts at temperature {choice['temperature']}"
    told += "" if choice["enough"] else "; p_guide stayed below what we asked for"
    head = ["epochs", "temperature", "p_auto", "p_guide"]
    return f"## Warm-up, on validation\n\n{table(head, rows)}\n\n{told}."


def measures(out: Path) -> str:
    """What `strategies --measure` printed, before and after training."""
    parts = []
    for path in sorted(out.glob(MEASURE)):
        lines = path.read_text(encoding="utf-8").replace("\r", "\n").splitlines()
        starts = ("| ", "SGPO ")
        told = [line for line in lines if line.startswith(starts) or " samples each; " in line]
        if len(told) > 2:  # it is finished
            text = "\n".join([*told[:-2], "", told[-2], "", told[-1]])
            parts.append(f"### {path.stem.removeprefix('measure-')}\n\n{text}")
    return "\n\n".join(["## p_auto, p_guide and controls, on validation", *parts]) if parts else ""


def rates(out: Path) -> str:
    if not (chosen := read(out / "rates.json")):
        return ""
    rows = [
        [m, f"{t['rate']:g}", f"{100 * t['unguided']:.1f}", f"{100 * t['guided']:.1f}",
         "chosen" if t["rate"] == chosen[m] else ""]
        for m in ORDER for t in chosen["tried"][m]
    ]  # fmt: skip
    if not rows:
        return f"Learning rate of every method: {chosen[ORDER[0]]:g}, chosen before the study."
    head = ["method", "learning rate", "unguided", "guided", ""]
    return f"## Learning rates, greedy on validation\n\n{table(head, rows)}"


def test_accuracy(out: Path, study: dict) -> str:
    """Warm student, methods, and SGPO - GRPO; pass@4 beside avg@4.

    Of the seeds that both have; SFT's cell is empty where it has not answered for all of them.
    """
    rows = []
    for kind, label in LABELS.items():
        for prompt in ("unguided", "guided"):
            files = {
                m: {s: out / f"answers/{m}-{s}-{kind}/{prompt}.jsonl" for s in study["seeds"]}
                for m in ORDER
            }
            warm = out / f"answers/warm-{kind}/{prompt}.jsonl"
            seeds = [s for s in study["seeds"] if all(is_there(files[m][s]) for m in ORDER[:2])]
            if not (seeds and is_there(warm)):
                continue
            base = by_problem(warm)
            answered = [m for m in ORDER if all(is_there(files[m][s]) for s in seeds)]
            runs = {m: [by_problem(files[m][s]) for s in seeds] for m in answered}
            label += f", {len(seeds)} seed{'s' * (len(seeds) > 1)}" * (prompt == "unguided")
            rows.append(row_of(f"{label} ({len(base)})", prompt, base, runs, mean))
            if kind == "avg4":
                solved = lambda row: pass_at_k([row], len(row))  # noqa: E731
                label = label.replace("avg@", "pass@")
                rows.append(row_of(f"{label} ({len(base)})", prompt, base, runs, solved))
    head = ["problems", "prompt", "warm", *ORDER, "sgpo - grpo (seeds)", "(problems)"]
    return f"## Test accuracy\n\n{table(head, rows)}" if rows else ""


def row_of(label: str, prompt: str, base: dict, runs: dict, score) -> list[str]:
    means = {m: [mean([score(row) for row in run.values()]) for run in runs[m]] for m in runs}
    gaps = [a - b for a, b in zip(means["sgpo"], means["grpo"], strict=True)]
    pairs = list(zip(runs["sgpo"], runs["grpo"], strict=True))
    each = [mean([score(a[name]) - score(b[name]) for a, b in pairs]) for name in base]
    cells = [label, prompt, estimate([score(row) for row in base.values()], "problems")]
    cells += [estimate(means[m], "seeds") if m in means else "" for m in ORDER]
    return [*cells, estimate(gaps, "seeds"), estimate(each, "differences")]


def runs_of(out: Path, study: dict, name: str) -> dict[str, list[list[dict]]]:
    """Each method's logs of this name, a list of rows for each seed that has one."""
    paths = {m: [out / f"runs/{m}-{s}/{name}.jsonl" for s in study["seeds"]] for m in ORDER}
    return {m: [rows_of(path) for path in paths[m] if is_there(path)] for m in ORDER}


def by_step(out: Path, study: dict) -> str:
    """Greedy accuracy on validation by step, and at the time that the fastest run took."""
    metrics, timings = runs_of(out, study, "metrics"), runs_of(out, study, "timings")
    if not all(map(len, metrics.values())):
        return ""
    key = "validation_accuracy"
    steps = sorted({r["step"] for run in sum(metrics.values(), []) for r in run if key in r})
    if not steps:
        return ""
    rows = []
    for step in steps:
        at = {m: [r[key] for run in metrics[m] for r in run if r["step"] == step] for m in ORDER}
        rows.append([step, *(estimate(at[m], "seeds") if at[m] else "" for m in ORDER)])
    budget = min(sum(r["seconds"] for r in run) for run in timings["sgpo"] + timings["grpo"])
    cells = []
    for m in ORDER:
        reached = [last_within(*pair, budget) for pair in zip(metrics[m], timings[m], strict=True)]
        known = [value for value in reached if value is not None]
        cells.append(estimate(known, "seeds") if known else "")
    rows.append([f"after {budget / 60:.1f} minutes", *cells])
    return f"## Validation accuracy by step, greedy, unguided\n\n{table(['step', *ORDER], rows)}"


def by_part(out: Path, study: dict) -> str:
    """Right rollouts without a strategy by part of the run, and SGPO's within GRPO's time.

    Of the seeds whose two runs are complete.
    """
    steps = study["steps"]
    pairs = [(seed, complete_logs(out, seed, steps)) for seed in study["seeds"]]
    logs = [
        [*both, *(rows_of(out / f"runs/{m}-{seed}/timings.jsonl") for m in ORDER[:2])]
        for seed, both in pairs
        if both
    ]
    if not logs:
        return ""
    grpo, sgpo, grpo_times, sgpo_times = zip(*logs, strict=True)
    part, rows = part_of(steps), []
    for end in range(part, steps + 1, part):
        both = [[right_until(run, end, part) for run in runs] for runs in (grpo, sgpo)]
        rows.append([f"steps {end - part + 1} to {end}", *compared(*both)])
    spent = [sum(row["seconds"] for row in run) for run in grpo_times]
    ends = []
    for run, budget in zip(sgpo_times, spent, strict=True):
        seconds = list(accumulate(row["seconds"] for row in run))
        ends.append(max(sum(s <= budget for s in seconds), 1))
    both = [
        [right_until(run, steps, part) for run in grpo],
        [right_until(run, end, part) for run, end in zip(sgpo, ends, strict=True)],
    ]
    rows.append([f"at equal time (SGPO's step {min(ends)} to {max(ends)})", *compared(*both)])
    head = ["", "grpo", "sgpo", "sgpo - grpo (seeds)"]
    return f"## Right rollouts without a strategy, in training\n\n{table(head, rows)}"


def part_of(steps: int) -> int:
    """The steps in a part of a run, a quarter."""
    return max(steps // 4, 1)


def right_until(run: list[dict], end: int, part: int) -> float:
    """Right rollouts without a strategy in the `part` steps up to `end`."""
    return mean([row["p_auto"] for row in run[max(end - part, 0) : end]])


def complete_logs(out: Path, seed: int, steps: int) -> list[list[dict]]:
    """GRPO's and SGPO's log of this seed; nothing unless both are complete."""
    paths = [out / f"runs/{m}-{seed}/metrics.jsonl" for m in ORDER[:2]]
    logs = [rows_of(path) for path in paths if is_there(path)]
    return logs if [len(log) for log in logs] == [steps, steps] else []


def compared(grpo: list[float], sgpo: list[float]) -> list[str]:
    gaps = [a - b for a, b in zip(sgpo, grpo, strict=True)]
    return [estimate(values, "seeds") for values in (grpo, sgpo, gaps)]


def last_within(metrics: list[dict], timings: list[dict], budget: float) -> float | None:
    """The last validation accuracy that a run measured within so many seconds of training."""
    spent, last = 0.0, None
    for row, times in zip(metrics, timings, strict=False):
        spent += times["seconds"]
        if spent > budget + 1e-6:
            break
        last = row.get("validation_accuracy", last)
    return last


def logged(out: Path, study: dict) -> str:
    """What training logged: means over all steps and seeds, and seconds a step."""
    metrics, timings = runs_of(out, study, "metrics"), runs_of(out, study, "timings")
    rows = []
    for name in LOGGED.split():
        cells = []
        for m in ORDER:
            values = [r[name] for run in metrics[m] for r in run if r.get(name) is not None]
            cells.append(f"{mean(values):.3f}" if values else "")
        rows.append([name, *cells])
    if not any(map(len, timings.values())):
        return ""
    for name in ("seconds", "rollout_seconds", "sampled_tokens"):
        values = {m: [r[name] for run in timings[m] for r in run] for m in ORDER}
        rows.append([name, *(f"{mean(values[m]):.1f}" if values[m] else "" for m in ORDER)])
    return f"## What training logged, means over steps\n\n{table(['', *ORDER], rows)}"


def kl(out: Path) -> str:
    """KL by token of the targets: what δ = 1 would mask, and whether targets could be chosen."""
    rows = []
    for path in sorted(out.glob("kl-*.json")):
        found = read(path)
        cells = [path.stem.removeprefix("kl-"), found["targets"], found["tokens"]]
        cells += [f"{found[name]:.1%}" for name in ("above_1", "kl_above_1", "largest_tenth")]
        several = found["several_right"]
        cells += [several, several - found["one_text"], found["target_not_first"]]
        rows.append([*cells, " ".join(map(str, found["counts"]))])
    head = ["student", "targets", "tokens", "tokens above 1 nat", "their share of the KL"]
    head += ["the largest tenth's share", "several right", "not one text", "target not the first"]
    head += ["tokens by KL, from 0, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3 nats"]
    return f"## KL by token\n\n{table(head, rows)}" if rows else ""


if __name__ == "__main__":
    print(report(Path(sys.argv[1])))

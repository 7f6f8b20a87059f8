"""Finished runs in small files, from which tables, figures and claims are made.

The folder of a comparison holds, beside the runs themselves,

- logs/NAME-SEED.json.bz2 and logs/base.json.bz2: settings, metrics and completions of a run (the
  same run gives the same bytes);
- timings.json: the seconds and the sampled tokens of each run's training.
"""

import bz2
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..evaluation import Evaluation
from ..support.files import read_json, read_rows
from .evaluations import read_answers
from .worlds import checksum_in, problems_in

MEND = "remove it, and run the `compare` command that made it again"
_checksum = cache(checksum_in)  # the same for every run


@dataclass(frozen=True)
class PackedRun:
    """The kept part of a run; answers are indexed by (split, guided)."""

    asked: dict  # its configuration, its splits, and the checksum of the student's weights
    metrics: list[dict]
    answers: dict[tuple[str, bool], Evaluation]
    sampled: dict[str, dict[str, list]]  # of each split, as in `sampled.measure_sampled`


def pack_run(run: Path, out: Path) -> None:
    """Write a finished run to out/logs and out/timings.json.

    Raises ValueError if its completions answer other problems than those of its world now.
    """
    asked = read_json(run / "evaluated.json", f"remove {run} and run it again")["asked"]
    data = asked["config"]["data"]
    packed = {"asked": asked, "metrics": [], "problems": {}, "answers": {}}
    packed["sampled"] = {
        split: read_json(run / "answers" / f"{split}.json", f"remove {run} and run it again")
        for split in asked["splits"]
    }
    if (run / "metrics.jsonl").exists():  # the base student has none
        packed["metrics"] = read_rows(run / "metrics.jsonl")
        times = read_rows(run / "timings.jsonl")
        path = out / "timings.json"
        known = read_json(path, MEND) if path.exists() else {}
        known[run.name] = {
            "sampled tokens": sum(row["sampled_tokens"] for row in times),
            "seconds": round(sum(row["seconds"] for row in times), 3),
        }
        _write(path, json.dumps(known, indent=1, sort_keys=True).encode() + b"\n")
    for split in asked["splits"]:
        packed["problems"][split] = _checksum(data, split)
        for prompt, guided in (("unguided", False), ("guided", True)):
            answers = read_answers(run, split, guided, data)
            packed["answers"][f"{split} {prompt}"] = _flattened(answers)
    (out / "logs").mkdir(exist_ok=True)
    content = bz2.compress(json.dumps(packed, ensure_ascii=False).encode())
    _write(out / "logs" / f"{run.name}.json.bz2", content)


def read_packed(out: Path, name: str) -> PackedRun:
    """Read the run NAME-SEED, or base, from the folder of a comparison.

    Raises ValueError if the run is missing or damaged, or answers other problems.
    """
    path = Path(out) / "logs" / f"{name}.json.bz2"
    if not path.is_file():
        raise ValueError(
            f"{path} is missing: the folder holds no finished run {name}; run the `compare` "
            "command that made it again"
        )
    try:
        packed = json.loads(bz2.decompress(path.read_bytes()))
    except (EOFError, OSError, ValueError):
        raise ValueError(f"{path} is cut short or damaged: {MEND}") from None
    data, known = packed["asked"]["config"]["data"], packed["problems"]
    if other := [split for split in known if known[split] != _checksum(data, split)]:
        raise ValueError(f"{path} holds answers to other problems ({', '.join(other)}): {MEND}")
    answers = {}
    for title, told in packed["answers"].items():
        split, prompt = title.split(" ")
        answers[split, prompt == "guided"] = _restored(told, data, split, prompt == "guided")
    return PackedRun(packed["asked"], packed["metrics"], answers, packed["sampled"])


def _flattened(answers: Evaluation) -> dict:
    """One completion per problem, in the order of `make_problems`.

    To save space, null stands for the problem's own step-by-step solution, which most correct
    completions repeat exactly.
    """
    told = zip(answers.completions, answers.problems, strict=True)
    return {
        "correct": "".join(str(int(right)) for (right,) in answers.correct),
        "truncated": "".join(str(int(cut)) for (cut,) in answers.truncated),
        "completions": [None if text == problem.solution else text for (text,), problem in told],
    }


def _restored(told: dict, data: str, split: str, guided: bool) -> Evaluation:
    problems = problems_in(data, split)
    texts = zip(told["completions"], problems, strict=True)
    return Evaluation(
        problems=problems,
        completions=tuple((p.solution if text is None else text,) for text, p in texts),
        correct=tuple((digit == "1",) for digit in told["correct"]),
        truncated=tuple((digit == "1",) for digit in told["truncated"]),
        guided=guided,
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, because a comparison may be stopped at any time."""
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    temporary.replace(path)

"""Finished runs, packed small: all that the comparison's tables, figures and claims are made of.

A comparison's folder holds, beside the runs themselves,

- logs/NAME-SEED.json.gz and logs/base.json.gz: a run's settings, its log and its answers, which an
  equal run repeats to the byte;
- timings.json: the seconds and the sampled tokens of each run's training.
"""

import gzip
import json
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..checkpoints import read_rows
from ..evaluation import Evaluation
from ..mini_gsm.world import checksum, make_problems
from ..support.files import read_json
from .runs import read_answers

MEND = "remove it, and the `compare` command that made it makes it again"
_checksum = cache(checksum)  # every run has answers to the same problems


@dataclass(frozen=True)
class PackedRun:
    """What is kept of a run; answers[split, guided]."""

    asked: dict  # its configuration, splits, and checksum of the weights that it started from
    metrics: list[dict]
    answers: dict[tuple[str, bool], Evaluation]


def pack_run(run: Path, out: Path) -> None:
    """Write a finished run to out/logs and out/timings.json.

    Raises ValueError where its answers are to other problems than mini-GSM's of today.
    """
    asked = read_json(run / "evaluated.json", f"remove {run} and run it again")["asked"]
    packed = {"asked": asked, "metrics": [], "problems": {}, "answers": {}}
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
        packed["problems"][split] = _checksum(split)
        for prompt, guided in (("unguided", False), ("guided", True)):
            answers = read_answers(run, split, guided)
            packed["answers"][f"{split} {prompt}"] = _flattened(answers)
    (out / "logs").mkdir(exist_ok=True)
    # Without the time of writing, so that equal runs give equal files.
    content = gzip.compress(json.dumps(packed, ensure_ascii=False).encode(), mtime=0)
    _write(out / "logs" / f"{run.name}.json.gz", content)


def read_packed(out: Path, name: str) -> PackedRun:
    """The run NAME-SEED, or base, of a comparison's folder.

    Raises ValueError where it is not there or its answers are to other problems.
    """
    path = Path(out) / "logs" / f"{name}.json.gz"
    if not path.is_file():
        raise ValueError(f"{path} is not there: the folder holds no finished run {name}")
    try:
        packed = json.loads(gzip.decompress(path.read_bytes()))
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError):
        raise ValueError(f"{path} is cut short or damaged: {MEND}") from None
    if other := [split for split, known in packed["problems"].items() if known != _checksum(split)]:
        raise ValueError(f"{path} holds answers to other problems ({', '.join(other)})")
    answers = {}
    for title, told in packed["answers"].items():
        split, prompt = title.split(" ")
        answers[split, prompt == "guided"] = _restored(told, split, prompt == "guided")
    return PackedRun(packed["asked"], packed["metrics"], answers)


def _flattened(answers: Evaluation) -> dict:
    """One completion a problem, in the order of `make_problems`; null for the problem's own
    step-by-step solution, which most of the right ones are to the letter."""
    told = zip(answers.completions, answers.problems, strict=True)
    return {
        "correct": "".join(str(int(right)) for (right,) in answers.correct),
        "truncated": "".join(str(int(cut)) for (cut,) in answers.truncated),
        "completions": [None if text == problem.solution else text for (text,), problem in told],
    }


def _restored(told: dict, split: str, guided: bool) -> Evaluation:
    problems = make_problems(split)
    texts = zip(told["completions"], problems, strict=True)
    return Evaluation(
        problems=problems,
        completions=tuple((p.solution if text is None else text,) for text, p in texts),
        correct=tuple((digit == "1",) for digit in told["correct"]),
        truncated=tuple((digit == "1",) for digit in told["truncated"]),
        guided=guided,
    )


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a comparison may be stopped at any time."""
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    temporary.replace(path)

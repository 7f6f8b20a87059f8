"""What of run.py's study is committed: a small folder from which tables.py makes the same report.

    python tests/real_student/pack.py runs/real-student sgpo_mini/results/real-student

Keeps settings, choices, logs, whether each completion is right, and the greedy completions on
problems of a chosen length; leaves out weights and GSM8K's own texts. Equal runs give equal files.
"""

import gzip
import json
import shutil
import sys
from pathlib import Path

from tables import MEASURE, report, rows_of

LARGEST = 5_000_000  # bytes
WITH_TEXT = ("-greedy", "-new")


def main() -> None:
    out, folder = map(Path, sys.argv[1:])
    if folder.exists():
        sys.exit(f"{folder} already exists: remove it, or give another folder")
    for path in sorted(out.glob("*.json")):
        copy(path, folder / path.name)
    for path in sorted(out.glob(MEASURE)):
        copy(path, folder / path.relative_to(out))
    minutes = {}
    for path in sorted((out / "done").glob("*.json")):
        minutes[path.stem] = json.loads(path.read_text(encoding="utf-8"))["minutes"]
    (folder / "minutes.json").write_text(json.dumps(minutes, indent=1) + "\n", encoding="utf-8")
    for path in sorted([*out.glob("runs/*/*.jsonl"), *out.glob("tries/*/*.jsonl")]):
        write(folder / path.relative_to(out), rows_of(path))
        copy(path.with_name("config.json"), folder / path.with_name("config.json").relative_to(out))
    write(folder / "warm" / "metrics.jsonl", rows_of(out / "warm" / "metrics.jsonl"))
    for path in sorted(out.glob("answers/*/*.jsonl")):
        kept = ["id", "correct", "truncated"]
        kept += ["completion"] if path.parent.name.endswith(WITH_TEXT) else []
        rows = [{name: row[name] for name in kept} for row in rows_of(path)]
        write(folder / path.relative_to(out), rows)
    report(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB")
    if size > LARGEST:
        sys.exit(f"that is more than {LARGEST / 1e6:g} MB: leave texts out (WITH_TEXT)")


def copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()

"""`python -m sgpo_mini compare`: GRPO and SGPO side by side, or any rows of the comparison.

With --export, it writes the problems of mini-GSM as files instead.
"""

import argparse
from pathlib import Path

from .options import PROGRAM, add_option, whole


def compare_command(options: argparse.Namespace) -> None:
    """Compare GRPO and SGPO; with --methods, the rows that it names."""
    if options.export:
        return _export(options.export)
    from ..study.main_job import run_and_report
    from ..study.report import report_comparison, run_comparison

    if options.report:
        report_comparison(options.report)
        return print(f"report and figures: {Path(options.report) / 'report.md'}")
    seeds = _seeds(options.seeds)
    # The command as the report shows it: without --out, and without the path to the student.
    flags = {"--methods": options.methods, "--seeds": options.seeds, "--steps": options.steps}
    flags["--student"] = options.student
    if Path(options.student).is_absolute():
        flags["--student"] = Path(options.student).name
    defaults = {"--methods": "", "--seeds": "0", "--steps": None, "--student": "tiny"}
    told = [f"{flag} {value}" for flag, value in flags.items() if value != defaults[flag]]
    command = " ".join([PROGRAM, *(["compare"] if told else []), *told])
    settings = {"seeds": seeds, "steps": options.steps, "command": command}
    settings["student"] = options.student
    if options.methods:
        text = run_comparison(options.out, _rows(options.methods), **settings)
    else:
        text = run_and_report(options.out, **settings)
    print(text.split("![")[0].strip())
    print(f"\nreport and figures: {Path(options.out) / 'report.md'}")


def _export(folder: str) -> None:
    """Write the splits of mini-GSM and a dataset card into a new or empty folder."""
    from ..mini_gsm.export import export
    from ..mini_gsm.world import SPLITS
    from ..study.tables import ceilings_of, chance_of

    export(folder, {split: chance_of(split) for split in SPLITS}, ceilings_of("tiny")["greedy"])
    print(f"{len(SPLITS)} splits of mini-gsm and their card: {Path(folder) / 'README.md'}")


def _rows(text: str) -> list[str]:
    """The names in --methods; all the rows for "all"."""
    from ..study.rows import ROWS

    return list(ROWS) if text == "all" else [name.strip() for name in text.split(",")]


def _seeds(text: str) -> list[int]:
    first, dash, last = text.partition("-")
    try:
        seeds = list(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        seeds = []
    if not seeds:
        raise ValueError(f"seeds must be a number or a range such as 0-4, not {text!r}")
    return seeds


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the options of `compare`."""
    parser.set_defaults(run=compare_command)
    student = "tiny (the shipped student), or a folder that `pretrain` made"
    add_option(parser, "student", "tiny", student)
    methods = "rows of the comparison, such as sgpo,luffy,shuffled, or all (all names are in "
    methods += "sgpo_mini/study/rows.py); by default only GRPO and SGPO are compared"
    add_option(parser, "methods", "", methods)
    add_option(parser, "seeds", "0", "a number or a range such as 0-4")
    add_option(
        parser,
        "steps",
        None,
        "training steps of each run (default: those of the row, mostly 30)",
        whole(1),
    )
    out = "folder of the runs; the same command resumes a stopped comparison"
    add_option(parser, "out", "runs/main", out)
    report = "train nothing: rewrite the report and figures of the finished comparison in FOLDER"
    add_option(parser, "report", "", report)
    about = "train nothing: write the splits of mini-gsm into FOLDER, new or empty, as JSONL files "
    about += "with a dataset card that datasets.load_dataset reads"
    add_option(parser, "export", "", about)

"""The report of the comparison over several students, from its packed runs alone."""

import json
from pathlib import Path

from ..mini_gsm.world import EXAMS
from ..support.files import write_whole
from ..support.markdown import markdown
from .comparison import COMPARED, EQUAL_TIME, HARD
from .evaluations import mean
from .packed_runs import PackedRun, read_packed
from .tables import (
    MEASURES,
    by_step,
    ceilings_of,
    compared,
    ratio_table,
    seconds,
    step_table,
    table,
    told,
    transfer_ratios,
)

UNITS = "Percent; in brackets 95 % intervals over seeds."
PAIRS = {  # what is compared from each student
    "on the training chains": COMPARED,
    "on the hard chains": HARD,
    "at equal time": (EQUAL_TIME, "sgpo"),
    "three times the steps": ("long-grpo", "long-sgpo"),
    "on the easy chains": ("easy-grpo", "easy-sgpo"),
}
TRAINING_SETS = ("on the easy chains", "on the training chains", "on the hard chains")


def write_report(out: Path) -> str:
    """Write tables.json and report.md of a comparison's folder; the report covers finished parts.

    A part is finished for the seeds that all its rows have, at least two. Raises ValueError if
    `out` holds no two finished seeds of GRPO and SGPO.
    """
    folders = {
        folder: runs_in(folder) for folder in (*sorted(out.glob("student-*")), out / "control")
    }
    folders = {f: runs for f, runs in folders.items() if len(finished_seeds(runs, COMPARED)) > 1}
    if not folders:
        raise ValueError(f"{out} holds no two finished seeds of GRPO and SGPO")
    tables, parts = {}, ["# GRPO and SGPO from three students", UNITS]
    for folder, runs in folders.items():
        base, ceilings = read_packed(folder, "base"), ceilings_of(folder.name)
        tables[folder.name] = told_of = {}
        parts.append(f"## {folder.name.replace('-', ' ').capitalize()}")
        for title, pair in PAIRS.items():
            if len(seeds := finished_seeds(runs, pair)) < 2:
                continue
            both = {name: [runs[name][seed] for seed in seeds] for name in pair}
            told_of[title] = {"seeds": seeds, "rows": (rows := compared(both, base))}
            told_of[title]["seconds"] = times = {n: seconds(folder, n, seeds) for n in pair}
            first_steps = [run.metrics[0] for run in both[pair[0]]]
            told_of[title]["p_auto at first"] = mean([row["p_auto"] for row in first_steps])
            told_of[title]["by step"] = steps = by_step(both)
            parts.append(f"### {title[0].upper()}{title[1:]}")
            parts.append(
                f"Seeds {', '.join(map(str, seeds))}. Training took "
                + " and ".join(f"{times[name]:.0f} s ({name})" for name in pair)
                + " of one core."
            )
            for measure, name in MEASURES.items():
                parts.append(f"#### {name[0].upper()}{name[1:]}")
                parts.append(table(rows, measure, ceilings.get(measure)))
            if steps[pair[0]].keys() == steps[pair[1]].keys():
                parts += ["#### By step, greedy accuracy on `validation`", step_table(steps)]
            if folder.name != "control":  # where the gain on `test` is about 0
                told_of[title]["transfer ratios"] = ratios = transfer_ratios(rows)
                parts += ["#### Transfer ratios, greedy accuracy", ratio_table(ratios)]
    parts[2:2] = ["## SGPO minus GRPO, greedy accuracy", difference_table(tables)]
    parts[4:4] = ["## When does it help?", when_table(tables)]
    write_whole(out / "tables.json", json.dumps(tables, indent=1) + "\n")
    report = "\n\n".join(parts) + "\n"
    write_whole(out / "report.md", report)
    return report


def difference_table(tables: dict) -> str:
    """Second minus first method on the training chains, a line a student, a column a split."""
    lines = [["student", *(f"`{split}`" for split in EXAMS)]]
    for name, told_of in tables.items():
        rows = greedy_rows(told_of["on the training chains"])
        cells = [told(rows[s]["difference"], rows[s]["over seeds"]) for s in EXAMS]
        lines.append([name.replace("-", " "), *cells])
    return markdown(lines)


def greedy_rows(part: dict) -> dict[str, dict]:
    """The rows of greedy accuracy by split."""
    return {row["split"]: row for row in part["rows"] if row["measure"] == "greedy"}


def when_table(tables: dict) -> str:
    """Each training set of each student: how often it is right at first, and accuracy on `test`."""
    lines = [["student", "trained", "p_auto at first", "base", "GRPO", "SGPO", "SGPO - GRPO"]]
    for name, told_of in tables.items():
        for title, part in told_of.items():
            if name == "control" or title not in TRAINING_SETS:
                continue
            row = greedy_rows(part)["test"]
            values = [row["base"], *(mean(row[method]) for method in PAIRS[title])]
            cells = [f"{100 * value:.1f}" for value in values]
            gap = told(row["difference"], row["over seeds"])
            p_auto = f"{100 * part['p_auto at first']:.1f}"
            lines.append([name.replace("-", " "), title, p_auto, *cells, gap])
    return markdown(lines)


def runs_in(folder: Path) -> dict[str, dict[int, PackedRun]]:
    """The packed runs of the rows in `PAIRS`, by row and seed."""
    wanted = {name for pair in PAIRS.values() for name in pair}
    runs: dict[str, dict[int, PackedRun]] = {}
    for path in sorted((folder / "logs").glob("*-*.json.bz2")):
        name, seed = path.name.removesuffix(".json.bz2").rsplit("-", 1)
        if name in wanted:
            runs.setdefault(name, {})[int(seed)] = read_packed(folder, f"{name}-{seed}")
    return runs


def finished_seeds(runs: dict[str, dict], names: tuple[str, ...]) -> list[int]:
    """The seeds for which each of some rows has a run."""
    return sorted(set.intersection(*(set(runs.get(name, {})) for name in names)))

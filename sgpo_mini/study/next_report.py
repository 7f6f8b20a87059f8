"""The report of the comparison in the next world, from its packed runs alone."""

import json
import re
from pathlib import Path

from ..mini_gsm_next.world import TRANSFER_SPLITS
from ..support.files import read_json, write_whole
from ..support.intervals import confidence_interval
from .evaluations import mean
from .next_comparison import COMPARED, EQUAL_TIME
from .next_rows import NEXT_ROWS
from .next_tables import (
    MEASURES,
    by_family,
    by_step,
    compared,
    seconds,
    step_table,
    table,
    told,
    transfer_ratios,
)
from .packed_runs import PackedRun, read_packed
from .transfer_table import markdown

CEILINGS = Path(__file__).parents[1] / "results" / "ceilings.json"
OWN_RIVALS = ("easy", "hard", "long")  # rows compared with GRPO of their own kind
ROW_SPLITS = ("test", *TRANSFER_SPLITS)


def write_report(out: Path) -> str:
    """Write tables.json and report.md of a comparison's folder; the report covers finished parts.

    A part is finished for the seeds that all its rows have, at least two. Raises ValueError if
    `out` holds no two finished seeds of GRPO and SGPO.
    """
    ceilings = {}
    if CEILINGS.exists():
        measured = read_json(CEILINGS, "run tests/benchmarks/ceilings.py again")["splits"]
        ceilings = {split: row["ceiling"][0] for split, row in measured.items()}
        ceilings["test"] = ceilings["validation"]  # the same kind of chains
    folders = [*sorted(out.glob("student-*")), out / "control"]
    folders = [folder for folder in folders if len(finished_seeds(folder, COMPARED)) > 1]
    if not folders:
        raise ValueError(f"{out} holds no two finished seeds of GRPO and SGPO")
    tables, parts = {}, ["# GRPO and SGPO in the next world"]
    for folder in folders:
        seeds = finished_seeds(folder, COMPARED)
        rows = compared(folder, seeds)
        control = folder.name == "control"
        tables[folder.name] = {"seeds": seeds, "rows": rows}
        parts.append(f"## {folder.name.replace('-', ' ').capitalize()}")
        times = {name: seconds(folder, name, seeds) for name in COMPARED}
        tables[folder.name]["seconds"] = times
        parts.append(
            f"Seeds {', '.join(map(str, seeds))}. Training took "
            + " and ".join(f"{times[name]:.0f} s ({name})" for name in COMPARED)
            + " of one core. Percent; in brackets 95 % intervals over seeds."
        )
        for measure, title in MEASURES.items():
            parts.append(f"### {title[0].upper()}{title[1:]}")
            parts.append(table(rows, measure, {} if control or measure == "guided" else ceilings))
        tables[folder.name]["by step"] = steps = by_step(folder, COMPARED, seeds)
        parts += ["### By step, greedy accuracy on `validation`", step_table(steps)]
        ratios = {name: transfer_ratios(rows, name) for name in COMPARED}
        tables[folder.name]["transfer ratios"] = ratios
        lines = [["gain on the split / gain on `test`", *(f"`{s}`" for s in TRANSFER_SPLITS)]]
        for name in COMPARED:
            lines.append([name, *(f"{ratios[name][s]:.2f}" for s in TRANSFER_SPLITS)])
        parts += ["### Transfer ratios, greedy", markdown(lines)]
        if len(seeds := finished_seeds(folder, (EQUAL_TIME, "sgpo"))) > 1:
            rows = compared(folder, seeds, EQUAL_TIME, "sgpo")
            tables[folder.name]["equal time"] = {"seeds": seeds, "rows": rows}
            parts.append("### Equal time: GRPO with more steps")
            time = seconds(folder, EQUAL_TIME, seeds)
            parts.append(f"Training took {time:.0f} s ({EQUAL_TIME}). Greedy accuracy.")
            parts.append(table(rows, "greedy", ceilings))
    if others := _every_row(out / "student-0"):
        parts += ["## Every row, student 0", _table_of_rows(others)]
        tables["rows"] = others
    write_whole(out / "tables.json", json.dumps(tables, indent=1) + "\n")
    report = "\n\n".join(parts) + "\n"
    write_whole(out / "report.md", report)
    return report


def finished_seeds(folder: Path, names: tuple[str, ...]) -> list[int]:
    """The seeds for which each of some rows has a packed run."""
    seeds = [
        {int(path.name.split(".")[0].rsplit("-", 1)[1]) for path in _packed(folder, name)}
        for name in names
    ]
    return sorted(set.intersection(*seeds))


def _packed(folder: Path, name: str) -> list[Path]:
    own = re.compile(rf"{re.escape(name)}-\d+\.json\.gz")
    return [path for path in (folder / "logs").glob("*.json.gz") if own.fullmatch(path.name)]


def _every_row(folder: Path) -> dict[str, dict]:
    """Of each row its greedy accuracy by split, averaged over seeds, and its time.

    "difference" is that on `test` to GRPO with the same seeds, training problems and number of
    steps, with its interval over seeds.
    """
    rows = {}
    for name in NEXT_ROWS:
        kind = name.split("-")[0]
        rival = f"{kind}-grpo" if kind in OWN_RIVALS else "grpo"
        seeds = finished_seeds(folder, (name, rival))
        if not seeds:
            continue
        row = {"seeds": seeds, "seconds": seconds(folder, name, seeds), "rival": rival}
        packed = [read_packed(folder, f"{name}-{seed}") for seed in seeds]
        for split in ROW_SPLITS:
            row[split] = mean([_accuracy(run, split, "greedy") for run in packed])
        row["test, guided"] = mean([_accuracy(run, "test", "guided") for run in packed])
        others = [read_packed(folder, f"{rival}-{seed}") for seed in seeds]
        if name != rival and len(seeds) > 1:
            gaps = [
                _accuracy(run, "test", "greedy") - _accuracy(other, "test", "greedy")
                for run, other in zip(packed, others, strict=True)
            ]
            row["difference"] = mean(gaps), confidence_interval(gaps, over="seeds")
        rows[name] = row
    return rows


def _accuracy(run: PackedRun, split: str, measure: str) -> float:
    return mean(list(by_family(run, split, measure).values()))


def _table_of_rows(rows: dict[str, dict]) -> str:
    titles = [*ROW_SPLITS, "test, guided"]
    lines = [["row", "what", "seeds", *titles, "`test`: minus GRPO", "seconds"]]
    for name, row in rows.items():
        cells = [name, NEXT_ROWS[name].about, str(len(row["seeds"]))]
        cells += [f"{100 * row[title]:.1f}" for title in titles]
        cells.append(told(*row["difference"]) if "difference" in row else "—")
        lines.append([*cells, f"{row['seconds']:.0f}"])
    return markdown(lines)

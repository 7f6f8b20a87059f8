"""The whole comparison of one student: rows of `rows.ROWS` over seeds, as one report.

Each run is packed as soon as it is finished (`packed_runs`). Tables, figures and claims are made
from the packed runs, so `python -m sgpo_mini compare --report FOLDER` can make them again.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..mini_gsm.world import EXAMS
from ..support.files import read_json, write_whole
from ..support.markdown import markdown
from .claims import claims_table
from .comparison import run_rows
from .evaluations import mean
from .figures import draw_figures
from .packed_runs import MEND, PackedRun, read_packed
from .rows import BASELINE, EVALUATED, ROWS
from .strategy_use_table import use_section
from .tables import MEASURES, accuracy, ceilings_of, chance_of, over_seeds, told

OWN_RIVALS = ("easy", "hard", "long")  # rows compared with GRPO of their own kind


def run_comparison(
    out: str | Path,
    methods: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    student: str = "tiny",
    command: str = "",
) -> str:
    """Run the rows that are not finished yet, pack each run, and return the report's text.

    The rows that others are compared with are always run. Raises ValueError, before anything
    starts, if a row is unknown or `compare` refuses the configurations.
    """
    out = Path(out)
    names = list(dict.fromkeys(methods))
    names = list(dict.fromkeys([BASELINE, *map(rival_of, names), *names]))
    made = {"command": command, "student": student, "methods": names, "seeds": list(seeds)}
    run_rows(out, names, student, seeds, steps)
    write_whole(out / "made.json", json.dumps(made, indent=1) + "\n")
    return report_comparison(out)


def rival_of(name: str) -> str:
    """The row that a row is compared with: GRPO on the same training set, as long as the row."""
    kind = name.split("-")[0]
    return f"{kind}-grpo" if kind in OWN_RIVALS else BASELINE


def report_comparison(folder: str | Path) -> str:
    """Write the tables, figures and report.md of a finished comparison, and return the report.

    Reads only made.json, timings.json and logs/ of the folder. Raises ValueError if one of them is
    missing.
    """
    out = Path(folder)
    if not (out / "made.json").is_file():
        raise ValueError(
            f"{out / 'made.json'} is missing: this is no finished comparison; run `compare "
            "--methods` with this --out first"
        )
    made = read_json(out / "made.json", MEND)
    names, seeds = made["methods"], made["seeds"]
    runs = {name: [read_packed(out, f"{name}-{seed}") for seed in seeds] for name in names}
    base = read_packed(out, "base")
    found = {"seeds": seeds, "base": measured([base])}
    found["rows"] = {name: measured(runs[name]) for name in names}
    found["costs"] = training_costs(out, runs, seeds)
    write_whole(out / "comparison.json", json.dumps(found, indent=1) + "\n")
    parts = [_head(made), "## Greedy accuracy", accuracy_table(found, made["student"])]
    parts += [
        _chance_of_intervals(found),
        "## Beside greedy accuracy on `test`",
        other_table(found),
    ]
    parts += ["## Did it use the strategy?", use_section(runs, base)]
    if set(ROWS) <= set(names) and len(seeds) > 1:
        parts += ["## The paper's claims", claims_table(out)]
    parts.append("## Figures")
    pictures = draw_figures(out, runs, base)
    parts += [f"![{about}](figures/{name}.png)\n\n*{about}*" for name, about in pictures]
    text = "\n\n".join(part for part in parts if part) + "\n"
    write_whole(out / "report.md", text)
    return text


def measured(runs: Sequence[PackedRun]) -> dict[str, dict[str, list[float]]]:
    """{measure: {split: [the mean over families, a value a run]}}."""
    return {
        measure: {split: [accuracy(run, split, measure) for run in runs] for split in EVALUATED}
        for measure in MEASURES
    }


def gaps(found: dict, name: str, split: str, measure: str = "greedy") -> list[float]:
    """A row minus the row that it is compared with, paired by seed."""
    row, rival = (found["rows"][n][measure][split] for n in (name, rival_of(name)))
    return [a - b for a, b in zip(row, rival, strict=True)]


def accuracy_table(found: dict, student: str) -> str:
    """A line a row with its accuracy on each split and, below it, the difference to its rival."""
    lines = [["row", "what it is", *(f"`{split}`" for split in EXAMS)]]
    chance = [f"{100 * chance_of(split):.1f}" for split in EXAMS]
    lines.append(["chance", "a plan drawn from those that fit", *chance])
    base = [f"{100 * found['base']['greedy'][s][0]:.1f}" for s in EXAMS]
    lines.append(["base", "the student before training", *base])
    for name, row in found["rows"].items():
        cells = []
        for split in EXAMS:
            cell = f"{100 * mean(row['greedy'][split]):.1f}"
            if rival_of(name) != name:
                values = gaps(found, name, split)
                cell += f"<br>{told(mean(values), over_seeds(values))}"
            cells.append(cell)
        lines.append([name, ROWS[name].about, *cells])
    if ceilings := ceilings_of(student).get("greedy"):
        cells = [f"{100 * ceilings[split]:.1f}" for split in EXAMS]
        lines.append(["ceiling", "SFT on the solutions of all training problems", *cells])
    return markdown(lines)


def other_table(found: dict) -> str:
    """A line a row: the other measures on `test`, and what a run cost."""
    titles = [title for measure, title in MEASURES.items() if measure != "greedy"]
    costs = ("sampled tokens", "given tokens", "seconds")
    lines = [["row", *titles, *costs]]
    rows = {"base": found["base"], **found["rows"]}
    for name, row in rows.items():
        cells = [f"{100 * mean(row[m]['test']):.1f}" for m in MEASURES if m != "greedy"]
        paid = found["costs"].get(name, {})
        lines.append([name, *cells, *(f"{paid[c]:,.0f}" if paid else "—" for c in costs)])
    return markdown(lines)


def training_costs(
    out: Path, runs: dict[str, list[PackedRun]], seeds: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Sampled tokens, learned tokens of given solutions, and seconds of a run: means over seeds.

    The seconds are those of one core in the training steps, without evaluation.
    """
    times = read_json(out / "timings.json", MEND)
    costs = {}
    for name, packed in runs.items():
        given = [sum(row.get("given_tokens", 0) for row in run.metrics) for run in packed]
        row = [times[f"{name}-{seed}"] for seed in seeds]
        costs[name] = {
            "sampled tokens": mean([time["sampled tokens"] for time in row]),
            "given tokens": mean(given),
            "seconds": mean([time["seconds"] for time in row]),
        }
    return costs


def _head(made: dict) -> str:
    seeds = made["seeds"]
    head = f"# The comparison on mini-GSM\n\n`{made['command']}`\n\n"
    if len(seeds) == 1:
        return head + (
            f"**This is one seed ({seeds[0]}).** Another would give other numbers, so no interval "
            "stands beside a difference. Percent; below a value: its difference to GRPO, in points."
        )
    return head + (
        f"Seeds {', '.join(map(str, seeds))}. Percent; below a value: its difference, in points, "
        "to GRPO on the same training set with as many steps (of `grpo-equal-time`: to GRPO with "
        "fewer), paired by seed, with a 95 % t interval over seeds."
    )


def _chance_of_intervals(found: dict) -> str:
    """How many of the many 95 % intervals would exclude 0 by chance alone."""
    if len(found["seeds"]) == 1:
        return ""
    names = [name for name in found["rows"] if rival_of(name) != name]
    ends = [over_seeds(gaps(found, name, split)) for name in names for split in EXAMS]
    clear = sum(low > 0 or high < 0 for low, high in ends)
    return (
        f"The table shows {len(ends)} differences. If no row differed from GRPO at all, about "
        f"{len(ends) / 20:.0f} of their 95 % intervals would exclude 0 by chance; {clear} do."
    )

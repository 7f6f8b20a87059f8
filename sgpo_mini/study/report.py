"""The whole comparison: rows of `rows.ROWS` over seeds, as one report with tables and figures.

Each run is packed as soon as it is finished (`packed_runs`). Tables, figures and claims are made
from the packed runs, so `python -m sgpo_mini compare --report FOLDER` can make them again.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..evaluation import Evaluation
from ..support.files import read_json, write_whole
from .claims import claims_table
from .evaluations import SURE_AND_WRONG, base_difficulty, hard_families, mean
from .figures import draw_figures
from .packed_runs import MEND, PackedRun, pack_run, read_packed
from .rows import BASELINE, ROWS, config_of
from .runs import EVALUATED, compare
from .strategy_use_table import use_rows, use_section
from .tables import comparison_rows, told_differences
from .transfer_table import transfer_table


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

    The baseline is always run, for the differences. Raises ValueError, before anything starts, if a
    row is unknown or `compare` refuses the configurations.
    """
    out = Path(out)
    names = [BASELINE, *(name for name in dict.fromkeys(methods) if name != BASELINE)]
    configs = {name: config_of(name, student, steps) for name in names}
    made = {"command": command, "methods": names, "seeds": list(seeds)}
    made |= {"hard": sorted(hard_families(student)), "difficulty": base_difficulty(student)}
    controls = {name: ROWS[name].control for name in names}
    compare(
        configs, seeds, out, EVALUATED, controls=controls, when_done=lambda run: pack_run(run, out)
    )
    write_whole(out / "made.json", json.dumps(made, indent=1) + "\n")
    return report_comparison(out)


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
    runs = [f"{name}-{seed}" for name in names for seed in seeds]
    packed = {run: read_packed(out, run) for run in ("base", *runs)}

    def read(run: str, split: str, guided: bool) -> Evaluation:
        return packed[run].answers[split, guided]

    rows = comparison_rows(read, names, seeds, EVALUATED, set(made["hard"]))
    use = use_rows(read, names, seeds, EVALUATED)
    costs = training_costs(out, packed, names, seeds)
    for name, content in (("comparison", rows), ("strategy-use", use), ("costs", costs)):
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        write_whole(out / f"{name}.json", text)
    parts = [_head(made), _table(rows, costs, names), _chance(rows, use)]
    parts.append(use_section(use, names))
    if set(ROWS) <= set(names) and len(seeds) > 1:
        parts.append(f"## The paper's claims\n\n{claims_table(out)}\n")
    parts.append("## Figures\n")
    pictures = draw_figures(out, packed, names, seeds, made["difficulty"])
    parts += [f"![{about}](figures/{name}.png)\n\n*{about}*\n" for name, about in pictures]
    text = "\n".join(parts)
    write_whole(out / "report.md", text)
    return text


def training_costs(
    out: Path, packed: dict[str, PackedRun], names: Sequence[str], seeds: Sequence[int]
) -> dict[str, dict]:
    """Sampled tokens, learned tokens of given solutions, and seconds of a run: means over seeds.

    The seconds count the training steps, without evaluation.
    """
    times = read_json(out / "timings.json", MEND)
    costs = {}
    for name in names:
        runs = [f"{name}-{seed}" for seed in seeds]
        given = [sum(r.get("given_tokens", 0) for r in packed[run].metrics) for run in runs]
        costs[name] = {
            "sampled tokens": mean([times[run]["sampled tokens"] for run in runs]),
            "given tokens": mean(given),
            "seconds": mean([times[run]["seconds"] for run in runs]),
        }
    return costs


def _head(made: dict) -> str:
    seeds = len(made["seeds"])
    over = "problems (this is one seed; another would give other numbers)"
    if seeds > 1:
        over = "seeds (for the base student, over problems; “all equal”: every seed gave the same "
        over += "number)"
    return "\n".join(
        [
            "# Methods, ablations and controls on mini-GSM",
            "",
            *([f"`{made['command']}`", ""] if made["command"] else []),
            f"Seeds {', '.join(map(str, made['seeds']))}. Accuracy of greedy decoding in percent, "
            f"with 95 % intervals over {over}. Second line of a cell: paired difference from "
            f"`{BASELINE}`. The guided row of the base student is the ceiling: it has the strategy "
            "in the prompt at inference and is not trained. Tokens and seconds are those of one "
            "training run.",
            "",
            f"Hard families: {', '.join(made['hard']) or 'none'}. Sure and wrong families, left "
            f"out of every average: {', '.join(sorted(SURE_AND_WRONG))}.",
            "",
        ]
    )


def _table(rows: Sequence[dict], costs: dict[str, dict], names: Sequence[str]) -> str:
    about = {"base": "the shipped student; guided: the ceiling"}
    more = {"what it is": about | {name: ROWS[name].about for name in names}}
    for title in ("sampled tokens", "given tokens", "seconds"):
        more[title] = {name: f"{costs[name][title]:,.0f}" for name in names}
    return transfer_table(rows, ["base", *names], by_student=True, more=more) + "\n"


def _chance(rows: Sequence[dict], use: Sequence[dict]) -> str:
    """How many of the many 95 % intervals would exclude 0 by chance alone."""
    told, clear = told_differences([*rows, *use])
    if not told:
        return ""
    return (
        f"The tables above and below show {told} differences. If no method differed from "
        f"`{BASELINE}` at all, about {told / 20:.0f} of their 95 % intervals would exclude 0 by "
        f"chance; {clear} do.\n"
    )

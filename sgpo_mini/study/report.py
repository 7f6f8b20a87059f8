"""The whole comparison: rows of `rows.ROWS` over seeds, in one table with its figures.

Each run is packed as soon as it is finished (`packed_runs`); table, figures and the claims are made
from what is packed, so that `python -m sgpo_mini compare --report FOLDER` can make them again.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..evaluation import Evaluation
from ..support.files import read_json, write_whole
from .claims import claims_table
from .figures import draw_figures
from .packed_runs import MEND, PackedRun, pack_run, read_packed
from .rows import BASELINE, ROWS, config_of
from .runs import EVALUATED, SURE_AND_WRONG, base_difficulty, compare, hard_families, mean
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
    """Run what is not yet there of the rows, packing each run, and report; the report's text.

    The baseline is run too, for the differences. Raises ValueError, before anything starts, for an
    unknown row or where `compare` refuses.
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
    """Write table, strategy use, costs, figures and report.md of a comparison; the report's text.

    Of its folder made.json, timings.json and logs/ are read, and nothing else. Raises ValueError
    where one of them is missing.
    """
    out = Path(folder)
    if not (out / "made.json").is_file():
        raise ValueError(f"{out / 'made.json'} is not there: this is no finished comparison")
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
    """Means over seeds of a run's sampled tokens, learnt tokens of given solutions, and seconds.

    Seconds are those of the training steps, without evaluation.
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
    over = "seeds" if seeds > 1 else "problems (one seed: another would give other numbers)"
    equal = " (“all equal”: every seed gave the same number)" if seeds > 1 else ""
    return "\n".join(
        [
            "# Methods, ablations and controls on mini-GSM",
            "",
            *([f"`{made['command']}`", ""] if made["command"] else []),
            f"Seeds {', '.join(map(str, made['seeds']))}. Greedy answers, percent right, 95 % "
            f"intervals over {over}{equal}, for the base student over problems; second line: "
            f"difference to `{BASELINE}`, paired. The base student's guided line is the ceiling: "
            "the strategy in the prompt at inference, nothing trained. Tokens and seconds are of "
            "one run's training.",
            "",
            f"Hard families: {', '.join(made['hard']) or 'none'}. Sure and wrong, in no average: "
            f"{', '.join(sorted(SURE_AND_WRONG))}.",
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
    """What many intervals at 95 % mean: some leave out 0 by chance."""
    told, clear = told_differences([*rows, *use])
    if not told:
        return ""
    return (
        f"The tables above and below show {told} differences: if no method differed from "
        f"`{BASELINE}` at all, about {told / 20:.0f} of their 95 % intervals would leave out 0 by "
        f"chance; {clear} do.\n"
    )

"""Did the methods use the strategy? The plans of their unguided completions, over seeds."""

from collections.abc import Sequence

from ..evaluation import Evaluation
from ..mini_gsm.strategy_use import (
    NOT_FITTING,
    OTHER_QUANTITIES,
    OWN,
    UNREADABLE,
    solutions,
    use_of,
)
from .evaluations import SURE_AND_WRONG, mean
from .tables import Estimate, Read, difference, estimate
from .transfer_table import transfer_table

# What a completion that does not follow the true plan did, by the field of `StrategyUse`.
_OTHERS = {
    "other_quantities": OTHER_QUANTITIES,
    "other_operations": "other operations",
    "not_fitting": NOT_FITTING,
    "unreadable": UNREADABLE,
}


def use_rows(
    read: Read, names: Sequence[str], seeds: Sequence[int], splits: Sequence[str]
) -> list[dict]:
    """One row per split, without the sure and wrong families, in the form of `comparison_rows`.

    A student's number is its plan accuracy; "differences" has the paired differences from the first
    of `names`; "calculation" has the accuracy of the completions that follow the true plan (None if
    a seed has none); "others" has the shares of what the other completions did.
    """
    rows = []
    for split in splits:
        told = {"base": [_fair(read("base", split, False))]}
        for name in names:
            told[name] = [_fair(read(f"{name}-{seed}", split, False)) for seed in seeds]
        plans = {
            name: [[float(did == OWN) for did, _ in run] for run in runs]
            for name, runs in told.items()
        }  # (seeds, problems)
        row = {"label": split, "guided": False, "problems": len(plans["base"][0])}
        row |= {name: estimate(values) for name, values in plans.items()}
        row["differences"] = {name: difference(plans[names[0]], plans[name]) for name in names[1:]}
        row["per_seed"] = {name: [mean(run) for run in plans[name]] for name in names}
        row["calculation"] = {name: _calculation(runs) for name, runs in told.items()}
        row["others"] = {name: _others(runs) for name, runs in told.items()}
        rows.append(row)
    return rows


Told = list[tuple[str, bool]]  # per problem: (what the completion did, is its answer correct)


def _fair(run: Evaluation) -> Told:
    told = solutions(run)
    return [(did, right) for p, did, right in told if p.family not in SURE_AND_WRONG]


def _calculation(runs: Sequence[Told]) -> Estimate | None:
    right = [[float(right) for did, right in run if did == OWN] for run in runs]
    return estimate(right) if all(right) else None


def _others(runs: Sequence[Told]) -> dict[str, float]:
    uses = [use_of(run) for run in runs]
    return {told: mean([getattr(use, field) for use in uses]) for field, told in _OTHERS.items()}


def use_section(rows: Sequence[dict], names: Sequence[str]) -> str:
    """The section of the report: plan accuracy, calculation, and what other completions did."""
    students = ["base", *names]
    calculation = [
        {key: row[key] for key in ("label", "guided", "problems")} | row["calculation"]
        for row in rows
    ]
    titles = [f"{row['label']} ({row['problems']})" for row in rows]
    others = ["| student | " + " | ".join(titles) + " |", "| --- " * (len(rows) + 1) + "|"]
    for name in students:
        shares = [row["others"][name].values() for row in rows]
        cells = [" / ".join(f"{100 * share:.1f}" for share in split) for split in shares]
        others.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(
        [
            "## Did it use the strategy?",
            "",
            "From each unguided completion we read the plan: which operations, on which "
            "quantities, in which order. Percent of the completions, without the sure and wrong "
            "families.",
            "",
            "**It follows the true plan** (second line: paired difference, as above):",
            "",
            transfer_table(rows, students, by_student=True),
            "",
            "**Its answer is correct, given that it follows the true plan** (a dash: for some "
            "seed, no completion does):",
            "",
            transfer_table(calculation, students, by_student=True),
            "",
            f"**What the other completions did** ({' / '.join(_OTHERS.values())}):",
            "",
            *others,
            "",
        ]
    )

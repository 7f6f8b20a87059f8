"""Did the methods use the strategy? The plans of their unguided completions, over seeds."""

from collections.abc import Sequence

from ..mini_gsm.strategy_use import KINDS, OWN, StrategyUse, measure_use
from ..support.markdown import markdown
from .evaluations import mean
from .packed_runs import PackedRun


def shares_of(runs: Sequence[PackedRun], split: str) -> dict[str, float]:
    """What the unguided completions of some runs did: {kind: share}, the mean over runs."""
    uses = [measure_use(run.answers[split, False]) for run in runs]
    return {kind: mean([use.shares[kind] for use in uses]) for kind in KINDS}


def use_section(
    runs: dict[str, list[PackedRun]], base: PackedRun, splits: Sequence[str] = ("test", "unseen")
) -> str:
    """The section of the report: what completions did on some splits, and the arithmetic."""
    parts = ["From each unguided completion we read the plan. Percent of the completions."]
    for split in splits:
        lines = [["student", *KINDS, f"right answer, given {OWN}"]]
        for name, made in {"base": [base], **runs}.items():
            uses = [measure_use(run.answers[split, False]) for run in made]
            cells = [f"{100 * mean([use.shares[kind] for use in uses]):.1f}" for kind in KINDS]
            lines.append([name, *cells, _calculation(uses)])
        parts += [f"**`{split}`**", markdown(lines)]
    return "\n\n".join(parts)


def _calculation(uses: Sequence[StrategyUse]) -> str:
    values = [use.calculation_accuracy for use in uses]
    return "—" if None in values else f"{100 * mean(values):.1f}"

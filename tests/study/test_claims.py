"""claims.py: what a comparison's numbers say to the paper's claims."""

import bz2
import json

import pytest

from sgpo_mini.study.claims import CLAIMS, Measured, claims_table, paper_gaps, verdict
from sgpo_mini.study.rows import ROWS

SEEDS = 5  # numbered from 3 on: a comparison needn't begin with 0
GAIN = CLAIMS[0]  # sgpo - grpo


def folder_of(path, accuracies: dict[str, list[float]], alpha=lambda step: 1 / step, steps=120):
    """A comparison's folder in which every row has the accuracy 0.5, unless others are given."""
    each = {name: [0.5] * SEEDS for name in ROWS} | accuracies
    found = {"seeds": list(range(3, 3 + SEEDS)), "base": {"greedy": {"test": [0.3]}}}
    found["rows"] = {name: {"greedy": {"test": values}} for name, values in each.items()}
    folder = path / "comparison"
    (folder / "logs").mkdir(parents=True)
    (folder / "comparison.json").write_text(json.dumps(found), encoding="utf-8")
    for name in ROWS:
        for seed in range(SEEDS):
            log = [
                {"step": step, "alpha": alpha(step), "entropy": 0.5 + seed / 10, "p_auto": 0.4}
                for step in range(1, steps + 1)
            ]
            packed = {"asked": {"config": {"data": "mini-gsm"}}, "metrics": log}
            packed |= {"problems": {}, "answers": {}, "sampled": {}}
            packed = bz2.compress(json.dumps(packed).encode())
            (folder / "logs" / f"{name}-{seed + 3}.json.bz2").write_bytes(packed)
    return folder


def cells_of(table: str, said: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if said in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    "expected, interval, told",
    [
        ("above", (0.01, 0.03), "reproduced"),
        ("above", (-0.01, 0.03), "not reproduced: undecided"),
        ("above", (-0.03, -0.01), "not reproduced: the opposite"),
        ("below", (-0.03, -0.01), "reproduced"),
        ("below", (-0.03, 0.0), "not reproduced: undecided"),
        ("below", (0.01, 0.03), "not reproduced: the opposite"),
        ("little", (-0.01, 0.03), "reproduced"),
        ("little", (0.01, 0.03), "reproduced"),
        ("little", (-0.01, 0.08), "not reproduced: undecided"),
        ("little", (0.01, 0.08), "not reproduced: the opposite"),
    ],
)
def test_a_claim_holds_where_the_whole_interval_lies_on_its_side(expected, interval, told):
    claim = next(claim for claim in CLAIMS if claim.expected == expected)
    assert verdict(claim, interval) == told


def test_differences_are_paired_by_seed(tmp_path):
    sgpo = [0.6, 0.7, 0.8, 0.9, 1.0]
    folder = folder_of(tmp_path, {"sgpo": sgpo, "grpo": [value - 0.05 for value in sgpo]})
    assert GAIN.values(Measured(folder)) == pytest.approx([0.05] * SEEDS)
    cells = cells_of(claims_table(folder), GAIN.said)
    assert cells[3:] == ["+5.0 (all equal)", "reproduced"]


def test_the_interval_is_students_over_seeds(tmp_path):
    folder = folder_of(tmp_path, {"sgpo": [0.5, 0.6, 0.7, 0.8, 0.9]})
    # Mean +20, deviation 15.81, t of four degrees of freedom 2.776: ± 19.63.
    assert cells_of(claims_table(folder), GAIN.said)[3] == "+20.0 (+0.4 to +39.6)"


def test_what_is_logged_is_compared_at_the_begin_and_the_end(tmp_path):
    table = claims_table(folder_of(tmp_path, {}))
    first, last = (
        sum(1 / step for step in steps) / 10 for steps in (range(1, 11), range(111, 121))
    )
    assert cells_of(table, "α starts high")[3].startswith(f"{last - first:+.3f} (")
    assert cells_of(table, "entropy collapses")[3:] == [
        "+0.000 (all equal)", "not reproduced: undecided"
    ]  # fmt: skip


def test_every_row_that_a_claim_names_exists_and_every_claim_is_told(tmp_path):
    table = claims_table(folder_of(tmp_path, {}))
    for claim in CLAIMS:
        assert cells_of(table, f"| {claim.said} |")[1] == claim.paper
    untested = cells_of(table, "gains grow with")
    assert untested[3:] == ["—", "can't be tested here"]


def test_the_papers_numbers_are_told_as_row_minus_sgpo():
    gaps = paper_gaps()
    assert gaps["grpo"] == -2.2 and gaps["sft"] == -9.4 and gaps["luffy"] == -1.4
    assert gaps["no-constraints"] == -6.8 and gaps["sft-on-target"] == -2.8
    assert set(gaps) < set(ROWS) and "sgpo" not in gaps and "no-grpo" in gaps


def test_the_seeds_are_stated(tmp_path):
    assert "| here, on `test`, seeds 3, 4, 5, 6, 7 |" in claims_table(folder_of(tmp_path, {}))


def test_of_runs_that_are_too_short_a_curve_says_nothing(tmp_path):
    table = claims_table(folder_of(tmp_path, {}, steps=15))
    told = cells_of(table, "the reward plateaus")[3:]
    assert told == ["—", "can't be tested: no-grpo-3 has only 15 steps"]
    assert cells_of(table, "α starts high")[4] == "reproduced"


def test_a_missing_comparison_or_row_is_told(tmp_path):
    with pytest.raises(ValueError, match="compare --methods all"):
        claims_table(tmp_path)
    folder = folder_of(tmp_path, {})
    found = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    del found["rows"]["luffy"]
    (folder / "comparison.json").write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(ValueError, match="no runs of 'luffy'"):
        claims_table(folder)

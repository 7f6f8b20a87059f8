"""claims.py: what a comparison's numbers say to the paper's claims."""

import gzip
import json

import pytest

from sgpo_mini.claims import CLAIMS, Measured, claims_table, verdict
from sgpo_mini.rows import ROWS

SEEDS = 5
GAIN = CLAIMS[0]  # sgpo - sft+grpo


def folder_of(path, accuracies: dict[str, list[float]], alpha=lambda step: 1 / step):
    """A comparison's folder in which every row has the accuracy 0.5, unless others are given."""
    each = {name: [0.5] * SEEDS for name in ROWS} | accuracies
    rows = [
        {"label": label, "guided": guided, "base": [0.3, [0.2, 0.4]], "accuracy_per_seed": each}
        for label, guided in (("validation", False), ("test", True))
    ]
    rows.append({**rows[0], "label": "test"})
    rows[0] = {**rows[0], "accuracy_per_seed": {}}  # never read
    folder = path / "comparison"
    (folder / "logs").mkdir(parents=True)
    (folder / "comparison.json").write_text(json.dumps(rows))
    (path / "kl-by-token.json").write_text(json.dumps({"share": [0.9, 0.8, 0.85]}))
    for name in ROWS:
        for seed in range(SEEDS):
            log = [
                {"step": step, "alpha": alpha(step), "entropy": 0.5 + seed / 10, "p_auto": 0.4}
                for step in range(1, 121)
            ]
            packed = gzip.compress("".join(json.dumps(row) + "\n" for row in log).encode())
            (folder / "logs" / f"{name}-{seed}.jsonl.gz").write_bytes(packed)
    return folder


def cells_of(table: str, said: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if said in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    "expected, interval, told",
    [
        ("above", (0.01, 0.03), "reproduced"),
        ("above", (-0.01, 0.03), "not reproduced: no clear difference"),
        ("above", (-0.03, -0.01), "not reproduced: the opposite"),
        ("below", (-0.03, -0.01), "reproduced"),
        ("below", (-0.03, 0.0), "not reproduced: no clear difference"),
        ("below", (0.01, 0.03), "not reproduced: the opposite"),
        ("not above", (-0.01, 0.03), "reproduced"),
        ("not above", (0.01, 0.03), "not reproduced: the opposite"),
    ],
)
def test_a_claim_holds_where_the_whole_interval_lies_on_its_side(expected, interval, told):
    claim = next(claim for claim in CLAIMS if claim.expected == expected)
    assert verdict(claim, sum(interval) / 2, interval) == told


def test_differences_are_paired_by_seed(tmp_path):
    sgpo = [0.6, 0.7, 0.8, 0.9, 1.0]
    folder = folder_of(tmp_path, {"sgpo": sgpo, "sft+grpo": [value - 0.05 for value in sgpo]})
    assert GAIN.values(Measured(folder)) == pytest.approx([0.05] * SEEDS)
    cells = cells_of(claims_table(folder), GAIN.said)
    assert cells[3:] == ["+5.0 (+5.0 to +5.0)", "reproduced"]


def test_the_interval_is_students_over_seeds(tmp_path):
    folder = folder_of(tmp_path, {"sgpo": [0.5, 0.6, 0.7, 0.8, 0.9]})
    # Mean +20, deviation 15.81, t of four degrees of freedom 2.776: ± 19.63.
    assert cells_of(claims_table(folder), GAIN.said)[3] == "+20.0 (+0.4 to +39.6)"


def test_what_is_logged_is_compared_at_the_begin_and_the_end(tmp_path):
    table = claims_table(folder_of(tmp_path, {}))
    first, last = (
        sum(1 / step for step in steps) / 20 for steps in (range(1, 21), range(101, 121))
    )
    assert cells_of(table, "α starts high")[3].startswith(f"{last - first:+.3f} (")
    assert cells_of(table, "entropy collapses")[3:] == [
        "+0.000 (+0.000 to +0.000)", "not reproduced: no clear difference"
    ]  # fmt: skip


def test_every_row_that_a_claim_names_exists_and_every_claim_is_told(tmp_path):
    table = claims_table(folder_of(tmp_path, {}))
    for claim in CLAIMS:
        assert cells_of(table, f"| {claim.said} |")[1] == claim.paper
    untested = cells_of(table, "gains grow with")
    assert untested[3:] == ["—", "can't be tested here"]


def test_a_missing_comparison_or_row_is_told(tmp_path):
    with pytest.raises(ValueError, match="compare --methods all"):
        claims_table(tmp_path)
    folder = folder_of(tmp_path, {})
    rows = json.loads((folder / "comparison.json").read_text())
    del rows[-1]["accuracy_per_seed"]["luffy"]
    (folder / "comparison.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match="no runs of 'luffy'"):
        claims_table(folder)

"""The transfer table: rows from evaluations, one line a split or a student."""

from sgpo_mini.evaluation import Evaluation
from sgpo_mini.problems import Problem
from sgpo_mini.study.transfer_table import transfer_rows, transfer_table


def answered(accuracies: list[float], samples: int = 4) -> Evaluation:
    """An evaluation with these accuracies, by hand."""
    problems = tuple(Problem(f"p{i}", "?", "1") for i in range(len(accuracies)))
    right = tuple(
        tuple(j < round(accuracy * samples) for j in range(samples)) for accuracy in accuracies
    )
    empty = tuple(("",) * samples for _ in accuracies)
    return Evaluation(problems, empty, right, tuple((False,) * samples for _ in right), False)


def cells_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_transfer_table_has_a_row_a_split_and_prompt_and_a_column_a_student():
    some, all_right = answered([0.25, 0.75] * 10), answered([1.0] * 20)
    rows = transfer_rows(
        {
            "base": {("test", False): some, ("test", True): all_right, ("unseen", True): some},
            "SGPO": {("test", False): all_right, ("test", True): all_right},
        },
        ["test", "unseen", "composed"],
    )
    cells = cells_of(transfer_table(rows, ["base", "SGPO"]))
    assert cells[0] == ["problems", "prompt", "base", "SGPO"]
    assert [row[:2] for row in cells[2:]] == [
        ["test (20)", "unguided"], ["test (20)", "guided"], ["unseen (20)", "guided"],
    ]  # fmt: skip
    assert cells[2][2].startswith("50.0 (") and cells[2][3] == "100.0 (83.9 to 100.0)"
    assert cells[4][3] == "—"


def test_the_transfer_table_by_student_has_a_line_a_student_and_prompt():
    rows = [
        {"label": "test", "guided": False, "problems": 20, "a": (0.5, (0.4, 0.6)),
         "b": (0.7, (0.6, 0.8)), "differences": {"b": (0.2, (-0.1, 0.5))}},
        {"label": "test", "guided": True, "problems": 20, "a": (0.9, (0.8, 1.0))},
    ]  # fmt: skip
    table = transfer_table(rows, ["a", "b"], by_student=True, more={"seconds": {"b": "12"}})
    assert cells_of(table)[0] == ["student", "prompt", "test (20)", "seconds"]
    assert cells_of(table)[2:] == [
        ["a", "unguided", "50.0 (40.0 to 60.0)", "—"],
        ["a", "guided", "90.0 (80.0 to 100.0)", ""],
        ["b", "unguided", "70.0 (60.0 to 80.0)<br>+20.0 (-10.0 to +50.0)", "12"],
        ["b", "guided", "—", ""],
    ]

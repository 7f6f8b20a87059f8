"""Accuracies of students on splits, as rows and as a Markdown table."""

from collections.abc import Sequence

from ..evaluation import Evaluation
from ..support.intervals import confidence_interval
from ..support.markdown import markdown


def transfer_rows(
    evaluations: dict[str, dict[tuple[str, bool], Evaluation]], splits: Sequence[str]
) -> list[dict]:
    """The rows of `transfer_table`, from evaluations[student][split, guided].

    Intervals are over problems: they show how precisely *these* weights are measured, not how much
    another seed would differ. A row that no student has is left out.
    """
    rows = []
    for split in splits:
        for guided in (False, True):
            made = {
                name: e[split, guided] for name, e in evaluations.items() if (split, guided) in e
            }
            if made:
                row = {"label": split, "guided": guided}
                row["problems"] = len(next(iter(made.values())).problems)
                for name, evaluation in made.items():
                    row[name] = evaluation.accuracy, confidence_interval(evaluation.accuracies)
                rows.append(row)
    return rows


def transfer_table(
    rows: Sequence[dict],
    students: Sequence[str],
    *,
    difference: str = "",
    by_student: bool = False,
    more: dict[str, dict[str, str]] | None = None,
) -> str:
    """Accuracies on the splits as a Markdown table, in percent with 95 % intervals.

    A row has label, guided, problems and, for each student, (mean, (low, high)); a dash stands for
    a missing value. By default there is a line per row and a column per student; `difference` is
    the title of one more column with row["difference"]. With `by_student`, for many students, there
    is a line per student and prompt and a column per split, with row["differences"][student] below
    each value; `more` adds columns, by title and student.
    """
    if by_student:
        return _table_by_student(rows, students, more or {})
    table = [["problems", "prompt", *students, *([difference] if difference else [])]]
    for row in rows:
        cells = [_in_percent(row.get(student)) for student in students]
        cells += [_in_percent(row.get("difference"), "+")] if difference else []
        table.append([_title(row), _prompt(row["guided"]), *cells])
    return markdown(table)


def _table_by_student(rows: Sequence[dict], students: Sequence[str], more: dict) -> str:
    titles = dict.fromkeys(_title(row) for row in rows)
    table = [["student", "prompt", *titles, *more]]
    for student in students:
        for guided in sorted({row["guided"] for row in rows}):
            line = dict.fromkeys(titles, "—")
            for row in [row for row in rows if row["guided"] == guided]:
                line[_title(row)] = _in_percent(row.get(student))
                if gap := row.get("differences", {}).get(student):
                    line[_title(row)] += "<br>" + _in_percent(gap, "+")
            # The extra columns are the same for both prompts, so they are shown once.
            told = ["" if guided else values.get(student, "—") for values in more.values()]
            table.append([student, _prompt(guided), *line.values(), *told])
    return markdown(table)


def _title(row: dict) -> str:
    return f"{row['label']} ({row['problems']})"


def _prompt(guided: bool) -> str:
    return "guided" if guided else "unguided"


def _in_percent(estimate, sign: str = "") -> str:
    if estimate is None:
        return "—"
    value, (low, high) = estimate[:2]
    if not sign:  # a share, but a t interval may exceed 0 or 1
        low, high = max(low, 0.0), min(high, 1.0)
    if high - low < 1e-9:  # an interval without width does not show how certain the mean is
        return f"{value * 100:{sign}.1f} (all equal)"
    return f"{value * 100:{sign}.1f} ({low * 100:{sign}.1f} to {high * 100:{sign}.1f})"

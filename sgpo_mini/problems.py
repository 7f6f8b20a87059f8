"""A problem, where it comes from, and whether an answer to it is right.

What counts as an answer, and as one number, is in answers.py.
"""

import csv
import glob
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Number
from pathlib import Path

from .answers import extract_answer, gold_answer, is_correct, until_brace_closes


@dataclass(frozen=True)
class Problem:
    """A question with its gold answer and, where known, ways to solve it.

    `solution` is the data set's own, `expert_solution` a strong model's; `plan` names the
    operations of an embedded problem in order. What is unknown stays empty.
    """

    id: str
    question: str
    answer: str
    solution: str = ""
    expert_solution: str = ""
    strategy: str = ""
    family: str = ""
    plan: tuple[str, ...] = ()


# completion, problem -> reward: a finite number for every text that a student may write. From 1 on
# the completion counts as right (from `Config.right_reward` on: p_auto, p_guide, what may be
# distilled, accuracy). One that was cut off earns 0 and is never asked about.
Reward = Callable[[str, Problem], float]

GSM8K_SPLITS = ("train", "test")
GSM8K_CONFIGS = ("main", "socratic")
FILE_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")  # in any case
QUESTION_COLUMNS = ("question", "problem", "prompt")  # the first one that a file has
ANSWER_COLUMNS = ("answer", "ground_truth", "solution")


def numeric_reward(completion: str, problem: Problem) -> float:
    """1.0 for a right final answer, else 0.0: the paper's reward."""
    return float(is_correct(completion, problem.answer))


def load_gsm8k(
    split: str = "train", config: str = "main", path: str | os.PathLike[str] | None = None
) -> list[Problem]:
    """GSM8K's problems (Cobbe et al., 2021, arXiv:2110.14168), 7,473 to train and 1,319 to test.

    Read from the folder `path`, which holds {split}.jsonl (main) or {split}_socratic.jsonl; else
    from the folder that SGPO_GSM8K_DIR names; else from the Hub ("openai/gsm8k").
    Raises ValueError with file, line and mend when something can't be used.
    """
    if split not in GSM8K_SPLITS:
        raise ValueError(f"GSM8K has no split {split!r}; choose one of {', '.join(GSM8K_SPLITS)}")
    if config not in GSM8K_CONFIGS:
        raise ValueError(f"GSM8K has no config {config!r}; use {' or '.join(GSM8K_CONFIGS)}")
    folder = path or os.environ.get("SGPO_GSM8K_DIR")
    if folder:
        suffix = "_socratic" if config == "socratic" else ""
        file = Path(folder) / f"{split}{suffix}.jsonl"
        if not file.is_file():
            raise ValueError(
                f"{file} is not there; point path= or SGPO_GSM8K_DIR to GSM8K's original files"
            )
        records = _records(file)
    else:
        records = _hub_records(split, config)
    problems = []
    for index, (_, where, record) in enumerate(records, start=1):
        solution = _text(record, "answer", where)
        marked, _, gold = solution.rpartition("####")
        answer = extract_answer(f"#### {gold}") if marked else None
        if answer is None:
            raise ValueError(f"{where}: 'answer' does not end in '#### NUMBER'; correct the line")
        question = _text(record, "question", where)
        problems.append(Problem(f"gsm8k-{split}-{index:04d}", question, answer, solution))
    return problems


def load_problems(
    path: str | os.PathLike[str],
    check: Callable[[str], bool] | None = None,
    question_column: str = "",
    answer_column: str = "",
) -> list[Problem]:
    """Problems from a JSONL file, a .json with a list of objects, a .csv, a .tsv or a .parquet.

    The columns are the fields of `Problem`. `question` and `answer` (text or a number) are needed,
    the others optional and unknown ones ignored; the id is by default the file's stem and the line.
    Without `question_column` and `answer_column` these are the first of QUESTION_COLUMNS and
    ANSWER_COLUMNS that the file has, in any case. An answer is one number, kept in canonical form;
    a text that ends in "#### ANSWER" or \\boxed{ANSWER} is the solution, too, if there is no other.
    `check` says whether another gold answer can be used, which is then kept as it is written.
    Raises ValueError with file, line and mend when something can't be used.
    """
    path = Path(path)
    records = list(_records(path))
    if not records:
        raise ValueError(f"{path} holds no problems; give a question and an answer in each row")
    columns = list(dict.fromkeys(name for _, _, record in records for name in record))
    from_columns = {
        "question": _column(path, columns, "question", question_column, QUESTION_COLUMNS),
        "answer": _column(path, columns, "answer", answer_column, ANSWER_COLUMNS),
    }
    problems, taken = [], {}
    for number, where, record in records:
        for field in ("id", from_columns["answer"]):
            value = record.get(field)
            if isinstance(value, Number) and not isinstance(value, bool):
                record[field] = str(value)
        question, text = (_text(record, column, where) for column in from_columns.values())
        solution, answer = _solution_and_gold(text)
        gold = (answer if check(answer) else None) if check else gold_answer(answer)
        if gold is None:
            mend = "it did not pass check" if check else "write one number, such as 12 or 3/4"
            raise ValueError(f"{where}: the answer {answer[:80]!r} can't be used: {mend}")
        record.setdefault("id", f"{path.stem}-{number:04d}")
        name = _text(record, "id", where)
        if name in taken:
            raise ValueError(f"{where}: the id {name!r} is taken by {taken[name]}; make ids unique")
        taken[name] = where.removeprefix(f"{path}, ")
        plan = record.get("plan", [])
        if not isinstance(plan, list) or not all(isinstance(step, str) for step in plan):
            raise ValueError(f"{where}: 'plan' must be a list of texts; correct or remove it")
        optional = {
            field: _text(record, field, where, needed=False)
            for field in ("solution", "expert_solution", "strategy", "family")
        }
        optional["solution"] = optional["solution"] or solution
        problems.append(Problem(name, question, gold, plan=tuple(plan), **optional))
    return problems


def _column(path: Path, columns: list[str], field: str, named: str, usual: tuple[str, ...]) -> str:
    """The column that a field is read from; ValueError where the file has no such column."""
    in_any_case = (name for one in usual for name in columns if name.lower() == one)
    found = named or next(in_any_case, field)
    if found not in columns:
        raise ValueError(
            f"{path} has no field {found!r} (it has {', '.join(columns) or 'none'}); add it, or "
            f"name the column that holds it (--{field}-column)"
        )
    return found


def _solution_and_gold(text: str) -> tuple[str, str]:
    """A text with "#### ANSWER" or \\boxed{ANSWER} as solution and answer; any other as answer."""
    before, mark, gold = text.rpartition("####")
    if not mark:
        before, mark, gold = text.rpartition("\\boxed{")
        gold = until_brace_closes(gold) if mark else gold
    has_solution = mark and before.strip(" \n$")
    return text if has_solution else "", gold.strip() if mark else text


def _records(file: Path) -> Iterator[tuple[int, str, dict]]:
    """The objects or rows of a file, each with its number and where it stands in words.

    A file that ends in none of FILE_ENDINGS is read as JSONL.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder; name a file")
    try:
        content = file.read_bytes()
        text = "" if file.suffix.lower() == ".parquet" else content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(
            f"{file} can't be read ({error.strerror}); name a file that exists"
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}, line {line} is not UTF-8; save the file as UTF-8") from None
    if not content.strip():
        raise ValueError(f"{file} is empty; give one JSON object a line")
    readers = {".csv": _csv_rows, ".tsv": _csv_rows, ".parquet": _parquet_rows, ".json": _json_rows}
    for unit, number, record in readers.get(file.suffix.lower(), _json_lines)(file, text):
        where = f"{file}, {unit} {number}"
        if not isinstance(record, dict):
            raise ValueError(f"{where} is not a JSON object; write {{...}}")
        yield number, where, record


def _json_lines(file: Path, text: str) -> Iterator[tuple[str, int, object]]:
    # not splitlines(): JSON allows other line separators inside its strings
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield "line", number, _json(line)


def _json_rows(file: Path, text: str) -> Iterator[tuple[str, int, object]]:
    """The items of a list, or one object; a .json file that is no JSON as a whole is JSONL."""
    content = _json(text)
    if content is None and text.lstrip().startswith("["):
        raise ValueError(f"{file} starts with [ and is no JSON list; correct it")
    if content is None:
        yield from _json_lines(file, text)
    else:
        items = content if isinstance(content, list) else [content]
        yield from (("item", number, item) for number, item in enumerate(items, start=1))


def _json(text: str) -> object:
    """The value of a JSON text, None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _csv_rows(file: Path, text: str) -> Iterator[tuple[str, int, dict]]:
    # not through datasets, which makes numbers of texts: "007" an id of 7, "0.10" an answer of 0.1
    tab = file.suffix.lower() == ".tsv"
    rows = csv.DictReader(
        io.StringIO(text, newline=""), delimiter="\t" if tab else ",", strict=True
    )
    try:
        rows.fieldnames = names = [name.strip() for name in rows.fieldnames]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{file} has two columns {twice[0]!r}; rename one")
        for number, row in enumerate(rows, start=1):
            if None in row or None in row.values():
                told = f"{file}, row {number} has not as many fields as the first line has names"
                raise ValueError(f"{told}; put a text with commas or line breaks in double quotes")
            yield "row", number, row
    except csv.Error as error:
        told = f"{file} can't be read after line {rows.line_num} ({error})"
        raise ValueError(f"{told}; put a text with quotes into double quotes") from None


def _parquet_rows(file: Path, text: str) -> Iterator[tuple[str, int, dict]]:
    try:
        import datasets  # here, because the other files need no such package

        rows = datasets.load_dataset(
            "parquet", data_files=glob.escape(str(file)), split="train", streaming=True
        )
        for number, row in enumerate(rows, start=1):
            yield "row", number, {name: value for name, value in row.items() if value is not None}
    except Exception as error:  # pyarrow's, pandas' and datasets' own: many kinds
        told = f"{file} can't be read as parquet ({type(error).__name__}: {error})"
        raise ValueError(f"{told}; write it anew, or as CSV") from error


def _hub_records(split: str, config: str) -> Iterator[tuple[int, str, dict]]:
    try:
        import datasets  # here, because reading a folder needs no such package

        rows = datasets.load_dataset("openai/gsm8k", config, split=split)
    except Exception as error:  # the package missing, no network, the Hub's own errors: many kinds
        raise ValueError(
            f"GSM8K can't be loaded from the Hub ({type(error).__name__}); pass path= or set "
            "SGPO_GSM8K_DIR to a folder with its original files"
        ) from error
    for number, row in enumerate(rows, start=1):
        yield number, f"openai/gsm8k {split}, row {number}", dict(row)


def _text(record: dict, field: str, where: str, needed: bool = True) -> str:
    """A field's text, refused when it is missing, blank or no valid text."""
    if field not in record and not needed:
        return ""
    if field not in record:
        raise ValueError(f"{where} has no field {field!r}; add it")
    value = record[field]
    if not isinstance(value, str):
        raise ValueError(
            f"{where}: {field!r} must be text, not {type(value).__name__}; write it as text"
        )
    if needed and not value.strip():
        raise ValueError(f"{where}: {field!r} is blank; fill it in")
    if re.search(r"[\ud800-\udfff]", value):
        raise ValueError(f"{where}: {field!r} holds half a character (\\ud800 to \\udfff); mend it")
    return value

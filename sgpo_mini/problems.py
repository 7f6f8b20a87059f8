"""Problems: loading them from GSM8K or a file, and the reward of an answer.

support/answers.py reads the answer in a text; support/records.py reads the rows of a file.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Number
from pathlib import Path

from .support.answers import extract_answer, gold_answer, is_correct, until_brace_closes
from .support.notes import count_notes
from .support.records import hub_records, records_of, text_field


@dataclass(frozen=True)
class Problem:
    """A question with its gold answer and, if known, solutions and a strategy.

    `solution` is from the data set, `expert_solution` from a strong model; `plan` lists the
    operations of a mini-GSM problem in order. Unknown fields stay empty.
    """

    id: str
    question: str
    answer: str
    solution: str = ""
    expert_solution: str = ""
    strategy: str = ""
    family: str = ""
    plan: tuple[str, ...] = ()


# (completion, problem) -> reward: a finite number for any text. A completion is correct if its
# reward is at least 1 (`Config.right_reward`). A cut-off completion gets 0 without a call.
Reward = Callable[[str, Problem], float]

GSM8K_SPLITS = ("train", "test")
# Disjoint parts of train: a half, a third and a sixth of it. A hash of the question decides, so no
# other run, file order or choice of problems can move a problem to another part.
GSM8K_PARTS = {"warmup": (0, 1, 2), "rl": (3, 4), "validation": (5,)}
GSM8K_CONFIGS = ("main", "socratic")
QUESTION_COLUMNS = ("question", "problem", "prompt")  # the first one in the file is used
ANSWER_COLUMNS = ("answer", "ground_truth", "solution")


def numeric_reward(completion: str, problem: Problem) -> float:
    """1.0 for a correct final answer, else 0.0: the paper's reward."""
    return float(is_correct(completion, problem.answer))


def load_gsm8k(
    split: str = "train",
    config: str = "main",
    path: str | os.PathLike[str] | None = None,
    *,
    calculations: int = 0,
) -> list[Problem]:
    """GSM8K (Cobbe et al., 2021, arXiv:2110.14168): 7,473 problems in train, 1,319 in test.

    Three further splits are disjoint parts of train, which a hash of the question decides: "warmup"
    (3,721 problems), "rl" (2,485) and "validation" (1,267). With `calculations`, only problems
    whose solution notes exactly that many calculations are kept; 0 keeps all. Read from the folder
    `path`, which holds train.jsonl and test.jsonl (main) or train_socratic.jsonl and
    test_socratic.jsonl; by default from the folder in SGPO_GSM8K_DIR, else from the Hub
    ("openai/gsm8k"). Raises ValueError with file, line and fix if a record is invalid.
    """
    part, asked = GSM8K_PARTS.get(split), split
    split = "train" if part else split
    if split not in GSM8K_SPLITS:
        names = ", ".join([*GSM8K_SPLITS, *GSM8K_PARTS])
        raise ValueError(f"GSM8K has no split {split!r}; choose one of {names}")
    if config not in GSM8K_CONFIGS:
        raise ValueError(f"GSM8K has no config {config!r}; use {' or '.join(GSM8K_CONFIGS)}")
    folder = path or os.environ.get("SGPO_GSM8K_DIR")
    if folder:
        suffix = "_socratic" if config == "socratic" else ""
        file = Path(folder) / f"{split}{suffix}.jsonl"
        if not file.is_file():
            raise ValueError(f"{file} does not exist; set path= or SGPO_GSM8K_DIR to its folder")
        records = records_of(file)
    else:
        records = hub_records(split, config)
    problems = []
    for index, (_, where, record) in enumerate(records, start=1):
        solution = text_field(record, "answer", where)
        marked, _, gold = solution.rpartition("####")
        answer = extract_answer(f"#### {gold}") if marked else None
        if answer is None:
            raise ValueError(f"{where}: 'answer' does not end in '#### NUMBER'; correct the line")
        question = text_field(record, "question", where)
        if part and _sixth(question) not in part:
            continue
        if calculations and count_notes(solution) != calculations:
            continue
        problems.append(Problem(f"gsm8k-{split}-{index:04d}", question, answer, solution))
    if calculations and not problems:
        raise ValueError(f"no problem of GSM8K's {asked} has exactly {calculations} calculations")
    return problems


def _sixth(question: str) -> int:
    """A number from 0 to 5 that depends on the question's words alone."""
    words = " ".join(question.split())
    return int(hashlib.sha256(words.encode()).hexdigest(), 16) % 6


def load_problems(
    path: str | os.PathLike[str],
    check: Callable[[str], bool] | None = None,
    question_column: str = "",
    answer_column: str = "",
) -> list[Problem]:
    """Problems from a .jsonl file, a .json list of objects, a .csv, a .tsv or a .parquet file.

    The columns are the fields of `Problem`. `question` and `answer` (text or number) are required,
    the others optional; unknown columns are ignored; the default id is file stem and line number.
    `question_column` and `answer_column` default to the first of QUESTION_COLUMNS and
    ANSWER_COLUMNS in the file, in any case. An answer is one number, kept in canonical form; a text
    that ends in "#### ANSWER" or \\boxed{ANSWER} also becomes the solution if there is no other.
    With `check`, an answer may be any text that `check` accepts; it is kept as written. Raises
    ValueError with file, line and fix if a row is invalid.
    """
    path = Path(path)
    records = list(records_of(path))
    if not records:
        raise ValueError(f"{path} holds no problems; each row needs a question and an answer")
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
        question, text = (text_field(record, column, where) for column in from_columns.values())
        solution, answer = _solution_and_gold(text)
        gold = (answer if check(answer) else None) if check else gold_answer(answer)
        if gold is None:
            mend = "check rejects it" if check else "write one number, such as 12 or 3/4"
            raise ValueError(f"{where}: the answer {answer[:80]!r} can't be used: {mend}")
        record.setdefault("id", f"{path.stem}-{number:04d}")
        name = text_field(record, "id", where)
        if name in taken:
            raise ValueError(f"{where}: {taken[name]} also has the id {name!r}; make ids unique")
        taken[name] = where.removeprefix(f"{path}, ")
        plan = record.get("plan", [])
        if not isinstance(plan, list) or not all(isinstance(step, str) for step in plan):
            raise ValueError(f"{where}: 'plan' must be a list of texts; fix or remove it")
        optional = {
            field: text_field(record, field, where, needed=False)
            for field in ("solution", "expert_solution", "strategy", "family")
        }
        optional["solution"] = optional["solution"] or solution
        problems.append(Problem(name, question, gold, plan=tuple(plan), **optional))
    return problems


def _column(path: Path, columns: list[str], field: str, named: str, usual: tuple[str, ...]) -> str:
    """The column that holds a field; ValueError if the file has no such column."""
    in_any_case = (name for one in usual for name in columns if name.lower() == one)
    found = named or next(in_any_case, field)
    if found not in columns:
        raise ValueError(
            f"{path} has no field {found!r} (it has {', '.join(columns) or 'none'}); add it, or "
            f"give the column's name with --{field}-column"
        )
    return found


def _solution_and_gold(text: str) -> tuple[str, str]:
    """(solution, answer) of a text with "#### ANSWER" or \\boxed{ANSWER}; else ("", the text)."""
    before, mark, gold = text.rpartition("####")
    if not mark:
        before, mark, gold = text.rpartition("\\boxed{")
        gold = until_brace_closes(gold) if mark else gold
    has_solution = mark and before.strip(" \n$")
    return text if has_solution else "", gold.strip() if mark else text

"""A problem, where it comes from, and whether an answer to it is right.

What counts as an answer. An answer must be *stated*: after `####`, in a closed `\\boxed{}`, in
`<answer>` tags, after `A:` at the start of a line, after "answer:" or "the answer is". The last
statement in the text decides, even when no number can be read from it. A number that is merely
mentioned is a step, not an answer: of the 5,276 recorded GSM8K outputs that the tests compare with,
all 11 without a statement are wrong, and 10 of them are cut short. Without any statement
two weak forms are still read: a bold number in the last line, and a text that is one line starting
with its only number ("72", "12 apples.").

What counts as a number. A statement has to name exactly one: "5 or 6", "3, 4", "5+3", "10:30",
"2\\pi", "1e3" name none, while "5 + 3 = 8" names 8. Words and percent signs after the number are
units and are dropped, "million" among them.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path


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

# Every pattern runs in linear time on hostile text: spaces are collapsed before they are used,
# what repeats is atomic, possessive or bounded, and only the last statement is looked into.
_WHOLE = r"(?>[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?) ?(?:(?:(?P<mixed>{_WHOLE}) )?(?P<above>{_WHOLE}) ?/ ?(?P<below>{_WHOLE})"
    rf"|(?P<whole>{_WHOLE})(?:\.(?P<decimals>[0-9]*+))?|\.(?P<only_decimals>[0-9]++))"
)
_CONTINUES = re.compile(  # after a number: it was only a part of an expression, a list, a range
    r" ?%? ?(?:[+=^÷×·√π\\_²³¹⁰-⁹¼-¾⅐-⅞]|[-*/:] ?(?:[-0-9.(\\]|[A-Za-z]\b)|[xyn]\b|\([0-9]"
    r"|,? ?\.?[0-9]|[eE][-+]?[0-9])|[^.,;:(\n]* (?:or|and|to) -?\.?[0-9]"
)
_WORDS_FIRST = re.compile(r"[^-0-9+*/^\\=√]*[ :(](?=[-+]?\.?[0-9])")  # "She has 5"
_HEDGE = r"(?:about|approximately|around|exactly|roughly|just|only|simply|thus|therefore|equal to)"


def _marks(may_follow: str) -> re.Pattern[str]:
    """The marks of a statement; after a mere "answer is", without a colon, that has to follow."""
    return re.compile(
        r"(?P<box>\\f?boxed ?\{)|(?P<tag><answer>)"
        r"|(?:(?<!\#)\#{4}(?!\#)|^[ >#-]*+A ?:"
        r"|(?i:\banswer(?: to [^.:\n]{0,80}?)?(?: is| was)? ?[:=]))(?=\s*+\S)"
        r"|(?i:\banswer(?: to [^.:\n]{0,80}?)?(?: is| was| equals| (?:must|should|will|would) be))"
        rf"(?=\s*+(?i:{_HEDGE},? |[a-z] ?= ?)*+=? ?[-+]? ?(?:{may_follow}))",
        re.MULTILINE,
    )


_MARK = _marks(r"\.?[0-9]")
_LATEX_MARK = _marks(r"\.?[0-9]|\\?[$€£]|\\[(\[A-Za-z]|[(\[] ?-?[0-9]")
HEDGES = re.compile(rf"(?i:{_HEDGE},? )*+")
_REWRITES = [
    (re.compile(pattern), new)
    for pattern, new in (
        (r"<<[^<>\n]*>>", ""),  # GSM8K's calculator notes
        (r"[\u2212\u2013]", "-"),  # the minus sign, the en dash
        (r"≈|\\approx(?![a-z])", "="),
        (r"\^ ?(?:\\circ|\{ ?\\circ ?\})|\\(?:text|math|mbox|left|right|display)[a-z]*|\\[,!]", ""),
        (r"\\%", "%"),
        (r"\*\*|__|[`~\xa0]|\\?[$€£]|\\[()\[\]:; ]|\\quad", " "),
        (r"\\[dt]?frac ?\{([^{}]*)\} ?\{([^{}]*)\}", r" \1/\2"),
        (r"\\[dt]?frac ?([0-9]) ?([0-9])", r" \1/\2"),
        (r"[ \t\r\f\v]+", " "),
    )
]
_MAX_CHARACTERS = 1000  # of a number: no answer is longer, and Python reads at most 4,300 digits


def extract_answer(text: str) -> str | None:
    """The last stated number in canonical form, or None when there is none.

    Canonical: no sign for plus, no commas, no idle zeros, decimals as decimals ("1,234.50" ->
    "1234.5"), fractions and mixed numbers as a fraction in lowest terms ("1 3/4" -> "7/4").
    The module's text says what counts as stated and what as one number.
    """
    plain = text
    for pattern, new in _REWRITES:
        plain = pattern.sub(new, plain)
    stated = last_statement(plain)
    return _unmarked(text, plain.strip()) if stated is None else _read(stated)


def last_statement(text: str, latex: bool = False) -> str | None:
    """What the last mark in a text states: None without a mark, empty where it is never closed.

    `text` has no runs of spaces. With `latex` a formula may follow "the answer is", too.
    """
    marks = list((_LATEX_MARK if latex else _MARK).finditer(text))
    if not marks:
        return None
    mark = marks[-1]
    rest = text[mark.end() :]
    if mark["box"]:
        return _until_brace_closes(rest)
    if mark["tag"]:
        inside, closed, _ = rest.partition("</answer>")
        return inside if closed else ""
    return rest.lstrip().partition("\n")[0]


def is_correct(completion: str, answer: str) -> bool:
    """Whether the completion's stated answer equals the gold answer as an exact rational.

    A percent sign is dropped, never divided by 100; a completion without an answer is wrong.
    Raises ValueError when the gold answer can't be read.
    """
    gold = extract_answer(answer)
    if gold is None:
        raise ValueError(f"the gold answer {answer[:80]!r} can't be read as one number; correct it")
    stated = extract_answer(completion)
    return stated is not None and Fraction(stated) == Fraction(gold)


def numeric_reward(completion: str, problem: Problem) -> float:
    """1.0 for a right final answer, else 0.0: the paper's reward."""
    return float(is_correct(completion, problem.answer))


def _read(statement: str) -> str | None:
    """The one number that a statement names, in canonical form."""
    statement = statement.replace("{", "").replace("}", "").strip(" \n=:\"'([")
    statement = re.split(r"[.!?;](?:\s|$)", statement, maxsplit=1)[0]  # its first sentence
    start = HEDGES.match(statement).end()
    number = _NUMBER.match(statement, start)
    if number is None or _CONTINUES.match(statement, number.end()):
        if "=" in statement:  # "x = 5", "5 + 3 = 8"
            statement = statement.rpartition("=")[2].strip()
            number = _NUMBER.match(statement)
        elif number is None and (words := _WORDS_FIRST.match(statement)):
            number = _NUMBER.match(statement, words.end())
            if re.search(r"[0-9]", statement[number.end() :]) or re.search(r"\bnot\b", words[0]):
                return None
    if number is None or _CONTINUES.match(statement, number.end()):
        return None
    return _canonical(number)


def _canonical(number: re.Match[str]) -> str | None:
    if len(number[0]) > _MAX_CHARACTERS:
        return None
    part = {name: (value or "").replace(",", "") for name, value in number.groupdict().items()}
    minus = "-" if part["sign"] == "-" else ""
    if part["below"]:
        if int(part["below"]) == 0:
            return None
        value = int(part["mixed"] or 0) + Fraction(int(part["above"]), int(part["below"]))
        return f"{minus if value else ''}{value}"
    whole = part["whole"].lstrip("0") or "0"
    decimals = (part["decimals"] or part["only_decimals"]).rstrip("0")
    digits = f"{whole}.{decimals}" if decimals else whole
    return digits if digits == "0" else minus + digits


def _until_brace_closes(text: str) -> str:
    """What stands before the brace that closes an opened one; nothing when it never closes."""
    depth = 1
    for brace in re.finditer(r"[{}]", text):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[: brace.start()]
    return ""


def _unmarked(text: str, plain: str) -> str | None:
    """The number of a text without a statement: bold in its last line, or alone in its one line."""
    last_line = text.rstrip().rpartition("\n")[2]
    for bold in reversed(re.findall(r"\*\*([^*]+)\*\*", last_line)):
        if re.match(r"[$-]*\.?[0-9]", bold) and not re.match(r"[0-9]+[.)](?:\s|$)", bold):
            return extract_answer(bold)  # not the "2." of a numbered step
    number = _NUMBER.match(plain.replace("{", "").replace("}", ""))
    one_line = number and "\n" not in plain and not re.search(r"[0-9]", plain[number.end() :])
    return _read(plain) if one_line else None


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
    path: str | os.PathLike[str], check: Callable[[str], bool] | None = None
) -> list[Problem]:
    """Problems from a JSONL file, one object a line with the fields of `Problem`.

    `question` and `answer` (text or a number) are needed, the others optional and unknown ones
    ignored; the id is by default the file's stem and the line number. `check` says whether a gold
    answer can be used; by default it has to be a number that `extract_answer` can read.
    Raises ValueError with file, line and mend when something can't be used.
    """
    problems, lines_by_id = [], {}
    for line, where, record in _records(Path(path)):
        for field in ("id", "answer"):
            if type(record.get(field)) in (int, float):  # a bool is no number here
                record[field] = str(record[field])
        question = _text(record, "question", where)
        answer = _text(record, "answer", where)
        if not (check(answer) if check else extract_answer(answer) is not None):
            mend = "it did not pass check" if check else "write one number, such as 12 or 3/4"
            raise ValueError(f"{where}: the answer {answer[:80]!r} can't be used: {mend}")
        record.setdefault("id", f"{Path(path).stem}-{line:04d}")
        name = _text(record, "id", where)
        if name in lines_by_id:
            raise ValueError(
                f"{where}: the id {name!r} is taken by line {lines_by_id[name]}; make ids unique"
            )
        lines_by_id[name] = line
        plan = record.get("plan", [])
        if not isinstance(plan, list) or not all(isinstance(step, str) for step in plan):
            raise ValueError(f"{where}: 'plan' must be a list of texts; correct or remove it")
        optional = {
            field: _text(record, field, where, needed=False)
            for field in ("solution", "expert_solution", "strategy", "family")
        }
        problems.append(Problem(name, question, answer, plan=tuple(plan), **optional))
    return problems


def _records(file: Path) -> Iterator[tuple[int, str, dict]]:
    """The objects of a JSONL file, each with its line number and where it stands in words."""
    if file.is_dir():
        raise ValueError(f"{file} is a folder; name a JSONL file")
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(
            f"{file} can't be read ({error.strerror}); name a JSONL file that exists"
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}, line {line} is not UTF-8; save the file as UTF-8") from None
    if not text.strip():
        raise ValueError(f"{file} is empty; give one JSON object a line")
    # not splitlines(): JSON allows other line separators inside its strings
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise ValueError(f"{where} is not a JSON object; write {{...}} on one line")
        yield number, where, record


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

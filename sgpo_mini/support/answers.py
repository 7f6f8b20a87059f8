"""Reading an answer: the one number that a text states.

What counts as an answer. An answer must be *stated*: after `####`, in a closed `\\boxed{}`, in
`<answer>` tags, after `A:` at the start of a line, after "answer:" or "the answer is". The last
statement decides, even if no number can be read from it. A number that is only mentioned is an
intermediate step: of the 5,276 recorded GSM8K outputs in the tests, all 11 without a statement are
wrong, and 10 of them are cut off. Without a statement we still accept two weak forms: the only bold
number in the last line, and a one-line text that starts with its only number ("72", "12 apples.").

Where a completion ends. Some models continue after their answer with a question of their own
("Human: ...", "Question: ...", a token of a chat template). The first such new turn after an answer
ends the completion, and the last statement before it decides.

What counts as a number. A statement must name exactly one, and nothing next to it may make it part
of another value: "5 or 6", "3, 4", "5 hours 30 minutes", "5 and a half", "5+3", "10:30",
"2\\pi", "1e3", "5k" name none, while "5 + 3 = 8" names 8 and "5 million" 5000000. Unicode's
digits, separators, minus signs and slashes work like the ASCII ones: "57’500" is 57500, "3⁄4" is
3/4, "−5" and "negative 5" are -5. Other words and percent signs are units and are dropped.
"""

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

from .characters import plain_characters
from .notes import NOTE

# Every pattern runs in linear time on hostile text: we collapse spaces first, repetitions are
# atomic, possessive or bounded, and we read only the last statement.


# Markup

_REWRITES = [
    (re.compile(pattern), new)
    for pattern, new in (
        (NOTE.pattern, ""),
        (r"\\approx(?![a-z])|(?<![0-9])(?<![0-9] )[-=]>", "="),  # "=> 5", but not "5 => 6"
        (r"\^ ?(?:\\circ|\{ ?\\circ ?\})|\\(?:text|math|mbox|left|right|display)[a-z]*|\\!", ""),
        (r"\\%", "%"),
        (r"(?<=[0-9])!(?= ?\})", "^"),  # a factorial: a box holds no exclamation
        (r"\{,\}", ","),
        (r"\\[,:; ]", "\xa0"),  # LaTeX's thin spaces
        (r"\*\*|__|[`~]|\\?\$|\\[()\[\]]|\\quad", " "),
        (r"\\[dt]?frac ?\{([^{}]*)\} ?\{([^{}]*)\}", r" \1/\2"),
        (r"\\[dt]?frac ?([0-9]) ?([0-9])", r" \1/\2"),
    )
]
_MINUS_WORD = re.compile(r"\b(?i:negative|minus) (?=\.?[0-9])")


def _without_markup(text: str) -> str:
    """The text in plain characters, without Markdown, LaTeX and notes, with single spaces."""
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    return _MINUS_WORD.sub("-", re.sub(r"[ \xa0]+", " ", plain_characters(text)))


# Statements

_HEDGE = r"(?:about|approximately|around|exactly|roughly|just|only|simply|thus|therefore|equal to)"
HEDGES = re.compile(rf"(?i:{_HEDGE},? )*+")


def _marks(may_follow: str) -> re.Pattern[str]:
    """The marks of a statement; `may_follow` must follow an "answer is" without a colon."""
    return re.compile(
        r"(?P<box>\\f?boxed ?\{)|(?P<tag><answer>)"
        r"|(?:(?<!\#)\#{4}(?!\#)|^[ >#-]*+A ?:"
        r"|(?i:\banswer(?: to [^.:\n]{0,80}?)?(?: is| was)? ?[:=]))(?=\s*+\S)"
        r"|(?i:\banswer(?: to [^.:\n]{0,80}?)?(?: is| was| equals| (?:must|should|will|would) be))"
        rf"(?=\s*+(?i:{_HEDGE},? |[a-z] ?= ?)*+=? ?[-+]? ?(?:{may_follow}))",
        re.MULTILINE,
    )


_MARK = _marks(r"\.?[0-9]")
_LATEX_MARK = _marks(r"\.?[0-9]|\\?\$|\\[(\[A-Za-z]|[(\[] ?-?[0-9]")
_NEW_TURN = re.compile(
    r"<\|[A-Za-z_]{1,30}\|>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|^ ?(?i:human|user) ?$"
    r"|(?:^|(?<=[\s>*.]))(?:Human|User|Question|Problem|Q)(?:\*\*| [0-9]{1,4})? ?:"
    r"|^[ >#*_]{0,9}(?i:(?:[a-z]{1,12} ){0,2}(?:question|problem|exercise|instruction)s?)"
    r"(?: ?#?[0-9]{1,4})?[ *_]{0,4}:",
    re.MULTILINE,
)


def last_statement(text: str, latex: bool = False) -> str | None:
    """The text after the last mark before a new turn; None without a mark, "" if it never closes.

    `text` must have single spaces. With `latex`, a formula may also follow "the answer is".
    """
    marks = list((_LATEX_MARK if latex else _MARK).finditer(text))
    if not marks:
        return None
    if turn := _NEW_TURN.search(text, marks[0].end()):
        text = text[: turn.start()]
        marks = [mark for mark in marks if mark.end() <= len(text)]
    mark = marks[-1]
    rest = text[mark.end() :]
    if mark["box"]:
        return until_brace_closes(rest)
    if mark["tag"]:
        inside, closed, _ = rest.partition("</answer>")
        return inside if closed else ""
    return rest.lstrip().partition("\n")[0]


def until_brace_closes(text: str) -> str:
    """The text before the brace that closes an open one; empty if none does."""
    depth = 1
    for brace in re.finditer(r"[{}]", text):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[: brace.start()]
    return ""


# Numbers

_WHOLE = r"(?>[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)"
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?) ?(?:(?:(?P<mixed>{_WHOLE}) )?(?P<above>{_WHOLE}) ?/ ?(?P<below>{_WHOLE})"
    rf"|(?P<whole>{_WHOLE})(?:\.(?P<decimals>[0-9]*+))?|\.(?P<only_decimals>[0-9]++))"
    rf"(?P<scale>(?: ?(?i:{'|'.join(_SCALES)})\b(?!-))*+)"
)
_MAX_CHARACTERS = 1000  # of a number: no answer is longer, and Python parses at most 4,300 digits
NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "tens hundreds? thousands? [mb]illions? trillions? milli(?:on|ard)[a-z]+ half halves thirds "
    "(?:four|fif|six|seven|eigh|nin|ten|hundred|thousand)ths (?:lakh|crore)s? pi plus minus"
).replace(" ", "|")
# Next to a number, any of these may make it part of another value. `_kind` puts ² for characters
# with a numeric value, ± for mathematical signs and letters, \u0301 for combining marks.
_CHANGES_IT = re.compile(
    rf"[0-9²±\u200b\\_+^<=>|]| [-*/] |\b(?i:{NUMBER_WORDS})\b(?!-[a-z])|\b(?:and|or) an?\b"
    r"|\bquarters? of\b|\b[xyznXYZ]\b"
)
_CONTINUES = re.compile(  # the same, directly after a number
    r"[\u0301xX(]|[a-ceinBGT](?![A-Za-z])| ?(?:[kKM]|bn|mn|mln|mio|[mb]il)\b"
    r"| ?(?:squared|cubed|factorial)\b| ?[-/*](?![a-z]{2})| or (?:more|less|fewer)\b"
)
_LEADS_ON = re.compile(r"(?:[0-9]\S* ?(?:-|or|and|to)?|\S ?[-+/<>]|negative|minus) ?$")
_WORDS_FIRST = re.compile(r"[^-0-9+*/^\\=]*[ :(](?=[-+]?\.?[0-9])")  # "She has 5"
_NOT_IT = re.compile(r"\b(?i:not?|never|negative|twice|double|triple|quarter|root)\b")
_POWER_OF_UNIT = re.compile(r"(?<=[A-Za-z])(?: ?\^ ?[23]|²)|(?<![A-Za-z])[cdk]?m[23]\b")
_END = re.compile(r"[.!?][\"')]* (?=[A-Z])|,? \(?(?:since|because)\b|</|<\|")
_UNKNOWN = re.compile(  # "2x", "x + 3", but not "2 x 3"
    r"[0-9] ?[xyzn]\b(?! ?[0-9])|(?:^|[-+*/(]) ?[xyzn]\b|\b[xyzn] ?(?:[-+*/)^²]|$)"
)


def _read(statement: str) -> str | None:
    """The one number that a statement names, in canonical form; None if there isn't exactly one."""
    statement = re.sub(r"[{}]", "", statement).strip(" \n=:\"'([")
    statement = re.sub(r"[^\x00-\x7f]", lambda match: _kind(match[0]), _END.split(statement, 1)[0])
    number = _one_number(statement, HEDGES.match(statement).end())
    if number is None and "=" in statement:  # "x = 5", "5 + 3 = 8"
        *sides, last = statement.split("=")
        if not _several(sides):
            last = last.strip()
            number = _one_number(last, HEDGES.match(last).end())
    elif number is None and (words := _WORDS_FIRST.match(statement)):
        if not _CHANGES_IT.search(words[0]) and not _NOT_IT.search(words[0]):
            number = _one_number(statement, words.end())
    return number and _canonical(number)


def _one_number(text: str, start: int) -> re.Match[str] | None:
    """The number at `start`, if nothing after it may make it part of another value."""
    number = _NUMBER.match(text, start)
    if number is None or _CONTINUES.match(text, number.end()):
        return None
    rest = text[number.end() :]
    if number["decimals"] and rest.startswith(".."):  # 0.333...
        return None
    return None if _CHANGES_IT.search(_POWER_OF_UNIT.sub("", rest)) else number


def _several(sides: list[str]) -> bool:
    """Whether the sides before the last "=" are more than a single chain to one value."""
    if re.search(r"[0-9][^=]*(?:\bor\b|;)|[0-9] \([^)]*$", "=".join(sides)):
        return True
    if any(re.search(r"[(;]|, |\b(?:and|or)\b", side) for side in sides[1:]):
        return True
    unknown = any(_UNKNOWN.search(side.strip()) and re.search(r"[0-9²]", side) for side in sides)
    return unknown or sides[-1].endswith((">", "<", "!"))


@lru_cache(maxsize=10_000)
def _kind(character: str) -> str:
    """The placeholder of a non-ASCII character for _CHANGES_IT and _CONTINUES."""
    category = unicodedata.category(character)
    if unicodedata.numeric(character, None) is not None:
        return "²"
    if category.startswith("M"):
        return "\u0301"
    greek = re.match(r"GREEK SMALL LETTER (?!MU\b)", unicodedata.name(character, ""))
    return "±" if category == "Sm" or greek else character


def _canonical(number: re.Match[str]) -> str | None:
    if len(number[0]) > _MAX_CHARACTERS:
        return None
    part = {name: (value or "").replace(",", "") for name, value in number.groupdict().items()}
    minus = "-" if part["sign"] == "-" else ""
    zeros = sum(_SCALES[word.lower()] for word in re.findall("[A-Za-z]+", part["scale"]))
    if part["below"]:
        above, below = int(part["above"]), int(part["below"])
        if below == 0 or (part["mixed"] and above >= below):
            return None
        value = (int(part["mixed"] or 0) + Fraction(above, below)) * 10**zeros
        return f"{minus if value else ''}{value}"
    decimals = (part["decimals"] or part["only_decimals"]).ljust(zeros, "0")
    whole = (part["whole"] + decimals[:zeros]).lstrip("0") or "0"
    decimals = decimals[zeros:].rstrip("0")
    digits = f"{whole}.{decimals}" if decimals else whole
    return digits if digits == "0" else minus + digits


# Answers


def extract_answer(text: str) -> str | None:
    """The last stated number in canonical form, or None if there is none.

    Canonical: no plus sign, no commas, no redundant zeros, decimals as decimals ("1,234.50" ->
    "1234.5"), fractions and mixed numbers as a fraction in lowest terms ("1 3/4" -> "7/4"). The
    module docstring says which statements and numbers count, and where a completion ends.
    """
    text = plain_characters(text)
    turn = _NEW_TURN.search(text)
    for part in (text[: turn.start()], text) if turn else (text,):
        plain = _without_markup(part)
        stated = last_statement(plain)
        number = _unstated(part, plain.strip()) if stated is None else _read(stated)
        if stated is not None or number is not None:
            return number
    return None


def _unstated(text: str, plain: str) -> str | None:
    """The number of a text without a statement: bold in its last line, or alone in one line."""
    last_line = text.rstrip().rpartition("\n")[2]
    bold = [  # not the "2." of a numbered step
        match
        for match in re.finditer(r"\*\*([^*]+)\*\*", last_line)
        if re.match(r"[$-]*\.?[0-9](?![0-9]*+[.)](?:\s|$))", match[1])
    ]
    if bold:
        before, rest = last_line[: bold[0].start()], last_line[bold[0].start() :]
        alone = len(bold) == 1 and not _LEADS_ON.search(before[-40:])
        return _read(_without_markup(rest)) if alone else None
    number = _NUMBER.match(plain.replace("{", "").replace("}", ""))
    one_line = number and "\n" not in plain and not re.search(r"[0-9]", plain[number.end() :])
    return _read(plain) if one_line else None


def gold_answer(text: str) -> str | None:
    """A gold answer in canonical form, stated or bare; None if it isn't exactly one number.

    Stated as in a completion ("... #### 27"), or bare as one line ("27", "$27", "m = 27", "(27)").
    """
    plain = _without_markup(plain_characters(text)).strip()
    stated = last_statement(plain)
    if stated is not None:
        return _read(stated)
    bare = "\n" not in plain and (_NUMBER.match(plain.lstrip("{(= ")) or "=" in plain)
    return _read(plain) if bare and not _END.search(plain) else None


def is_correct(completion: str, answer: str) -> bool:
    """Whether the completion's stated answer equals the gold answer as an exact rational.

    Percent signs are dropped, not divided by 100. A completion without an answer is wrong. Raises
    ValueError if the gold answer can't be read.
    """
    gold = gold_answer(answer)
    if gold is None:
        raise ValueError(f"the gold answer {answer[:80]!r} can't be read as one number; correct it")
    stated = extract_answer(completion)
    return stated is not None and Fraction(stated) == Fraction(gold)

"""Numbers as a text writes them: in digits, in words ("three hundred") and as fractions."""

import re
from fractions import Fraction

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: Fraction(value) for value, word in enumerate(_ONES)}
_WORDS |= {word: Fraction(10 * value) for value, word in enumerate(_TENS, start=2)}
_WORDS |= {"twice": Fraction(2), "double": Fraction(2), "doubled": Fraction(2)}
_WORDS |= {"thrice": Fraction(3), "triple": Fraction(3), "tripled": Fraction(3)}
_WORDS |= {"quadruple": Fraction(4), "quadruples": Fraction(4), "doubles": Fraction(2)}
_WORDS |= {"triples": Fraction(3), "half": Fraction(1, 2), "halves": Fraction(1, 2)}
_WORDS |= {"both": Fraction(2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "dozen": 12}
PARTS = {"third": 3, "fourth": 4, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
PARTS |= {"ninth": 9, "tenth": 10, "twelfth": 12, "twentieth": 20}
# "fourth", "tenth", ...: as a place in an order, not as a part.
ORDINALS = {f"{word}th" for word in [*_ONES, *_SCALES, "fif", "nin", "eigh", "twelf"]}
_ONE_WORD = "|".join(sorted([*_WORDS, *_SCALES], key=len, reverse=True))
_PART = "|".join(PARTS)

NUMBER = re.compile(
    r"(?P<above>\d+) ?/ ?(?P<below>\d+)"
    r"|(?P<digits>\d+(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+)"
    rf"|\b(?P<parts>(?:(?:{'|'.join(_ONES)})|an?)[ -](?:{_PART})s?|(?<!every )(?:{_PART})s? of)\b"
    rf"|\b(?P<words>(?:{_ONE_WORD})(?:[ -](?:and )?(?:{_ONE_WORD}))*)s?\b",
    re.IGNORECASE,
)


def number_value(match: re.Match[str]) -> Fraction | None:
    """The value of a match of NUMBER; None for a fraction with the denominator 0."""
    if match["above"]:
        below = int(match["below"])
        return Fraction(int(match["above"]), below) if below else None
    if match["digits"]:
        return Fraction(match["digits"].replace(",", ""))
    if match["parts"]:
        first, _, part = match["parts"].lower().replace("-", " ").rpartition(" ")
        if part == "of":
            first, part = "a", first
        return _WORDS.get(first, Fraction(1)) / PARTS[part.removesuffix("s")]
    total = current = Fraction(0)
    for word in re.split(r"[ -]", match["words"].lower()):
        if word in _SCALES:
            current = (current or 1) * _SCALES[word]
            if word not in ("hundred", "dozen"):
                total, current = total + current, Fraction(0)
        else:
            current += _WORDS.get(word, 0)
    return total + current


def as_written(match: re.Match[str], value: Fraction) -> tuple[int, int]:
    """A fraction's numerator and denominator as the text writes them, not in lowest terms."""
    if match["above"]:
        return int(match["above"]), int(match["below"])
    parts = re.split(r"[ -]", (match["parts"] or "").lower())
    below = next((PARTS[p.removesuffix("s")] for p in parts if p.removesuffix("s") in PARTS), 0)
    return (int(value * below), below) if below else (value.numerator, value.denominator)

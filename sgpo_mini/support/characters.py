"""The characters of numbers in ASCII: Unicode's digits, separators, minus signs and slashes."""

import re
import unicodedata
from functools import lru_cache

_GROUPS = re.compile(  # thousands; not with an ordinary space: "1 234" may be two numbers
    r"(?<![0-9.,'_\xa0])[0-9]{1,3}([\xa0'_])[0-9]{3}(?:\1[0-9]{3})*+(?![0-9]|[\xa0'_,][0-9])"
)


def plain_characters(text: str) -> str:
    """The text with the characters of numbers in ASCII, and with thousands joined.

    An apostrophe, an underscore or any Unicode space except the ordinary one joins thousands.
    """
    text = re.sub(r"[\t\r\v\f]", " ", text)
    text = re.sub(r" ?[\u2014\u2015] ?(?=[^\W\d_])", ", ", text)  # "5 — she has": no minus
    text = re.sub(r"[^\n\xa0 -~]", lambda match: _plain(match[0]), text)
    text = re.sub(r"(?<![0-9])\u200b+|\u200b+(?![0-9])", "", text)
    return _GROUPS.sub(lambda match: match[0].replace(match[1], ""), text)


@lru_cache(maxsize=10_000)
def _plain(character: str) -> str:
    """The ASCII form of a non-ASCII character in a number; other characters stay unchanged."""
    if (digit := unicodedata.decimal(character, None)) is not None:
        return str(digit)
    category, form = unicodedata.category(character), unicodedata.decomposition(character)
    properties = f"{category} {unicodedata.name(character, '')}"
    if found := [new for what, new in _READ_AS if re.search(what, properties)]:
        return found[0]
    if re.match("<(?:wide|narrow|small|font)>", form) or (category == "Po" and "compat" in form):
        return unicodedata.normalize("NFKC", character)  # "…" too
    if form.startswith("<fraction>"):
        return " " + unicodedata.normalize("NFKC", character).replace("\u2044", "/")
    return character


_READ_AS = (  # by category and name
    (r"^Zs", "\xa0"),
    (r"^Z[lp]", "\n"),
    (r"^C[cf]", "\u200b"),  # invisible
    (r"^Sc", "$"),
    (r"^Pd| MINUS SIGN$", "-"),
    (r"(?<!REVERSE )(?:SOLIDUS|SLASH)$", "/"),
    (r" RIGHTWARDS.* ARROW$", "=>"),
    (r" (?:ALMOST|APPROXIMATELY) EQUAL TO$", "="),
    (r"APOSTROPHE$|SINGLE QUOTATION MARK$", "'"),
    (r"^P[if]", '"'),
    (r" DECIMAL SEPARATOR$", "."),
    (r" THOUSANDS SEPARATOR$", ","),
)

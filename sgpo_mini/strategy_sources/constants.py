"""Constants that solutions use without the question stating them: 60 is the minutes in an hour."""

import re
from fractions import Fraction

# (value, words of which one must be in the text, name); the first row that fits is used.
_CONSTANTS: list[tuple[Fraction | int, str, str]] = [
    (3600, r"hours?", "the seconds in an hour"),
    (60, r"hours?|minutes?|mph|hourly", "the minutes in an hour"),
    (60, r"seconds?", "the seconds in a minute"),
    (24, r"hours?|days?", "the hours in a day"),
    (7, r"weeks?|weekly|days?|daily", "the days in a week"),
    (2, r"weekends?", "the days in a weekend"),
    (5, r"weeks?|weekdays?|school|work\w*", "the working days in a week"),
    (12, r"months?|years?|monthly|annual|yearly", "the months in a year"),
    (12, r"inch|inches|foot|feet", "the inches in a foot"),
    (12, r"dozens?", "the items in a counting unit"),
    (365, r"days?|years?|daily", "the days in a year"),
    (366, r"leap", "the days in a leap year"),
    (52, r"weeks?|years?|weekly", "the weeks in a year"),
    (4, r"months?|monthly", "the weeks in a month"),
    (4, r"quarts?|gallons?", "the quarts in a gallon"),
    (4, r"quarters?", "the quarters in a whole"),
    (4, r"squares?|rectang\w+", "the sides of the shape"),
    (4, r"legs?", "the legs of each animal"),
    (3, r"triang\w+", "the sides of the shape"),
    (30, r"months?|days?|june|april|september|november", "the days in a month"),
    (31, r"months?|days?|january|march|may|july|august|october|december", "the days in a month"),
    (28, r"february|days", "the days in a month"),
    (29, r"february", "the days in a month"),
    (10, r"decades?", "the years in a decade"),
    (5, r"nickels?", "the cents in a nickel"),
    (10, r"dimes?", "the cents in a dime"),
    (25, r"quarters?", "the cents in a quarter"),
    (100, r"per ?cent\w*|chances?|probabilit\w+", "the whole in per cent"),
    (100, r"cents?|dollars?|penn\w+|dimes?|quarters?", "the cents in a dollar"),
    (100, r"cm|centimet\w+|met\w+|m", "the centimeters in a meter"),
    (100, r"centur\w+", "the years in a century"),
    (
        1000,
        r"kg|kilo\w*|km|grams?|g|m?l|lit\w+|millilit\w+|met\w+",
        "the small units in the large unit",
    ),
    (16, r"ounces?|oz|pounds?|lbs?", "the ounces in a pound"),
    (16, r"cups?|gallons?", "the cups in a gallon"),
    (3, r"yards?|feet|foot", "the feet in a yard"),
    (3, r"tablespoons?|teaspoons?", "the teaspoons in a tablespoon"),
    (8, r"ounces?|cups?|oz", "the ounces in a cup"),
    (32, r"ounces?|quarts?", "the ounces in a quart"),
    (128, r"ounces?|gallons?", "the ounces in a gallon"),
    (2000, r"pounds?|tons?", "the pounds in a ton"),
    (5280, r"miles?|feet", "the feet in a mile"),
    (180, r"degrees?|angles?|triang\w+", "the degrees in a straight angle"),
    (360, r"degrees?|circle|angles?", "the degrees in a full turn"),
    (Fraction("3.14"), r"circ\w+|radius|diameter|round", "the circle number pi"),
    (Fraction("0.25"), r"quarters?", "the dollars in a quarter"),
    (Fraction("0.1"), r"dimes?", "the dollars in a dime"),
    (Fraction("0.05"), r"nickels?", "the dollars in a nickel"),
    (Fraction("0.01"), r"per ?cent\w*", "a per cent of the whole"),
    (Fraction("0.01"), r"penn\w+|cents?|dollars?", "the dollars in a cent"),
]
_PART = re.compile(r"\bpercent|\d/\d|half|third|quarter")


def constant_name(value: Fraction, operation: str, result_kind: str, text: str) -> str:
    """The name of a constant that fits the words of a text, or "".

    `operation` and `result_kind`, the unit of its result, decide between two constants of the same
    value: 60 converts minutes to seconds, or hours to minutes.
    """
    text = text.lower().replace("%", " percent ").replace("$", " dollars ")
    share = operation in ("add", "subtract") and result_kind in ("", "percentage")
    if value == 1 and share and _PART.search(text):
        return "the whole"
    if value == 60 and result_kind == ("minute" if operation == "divide" else "second"):
        return "the seconds in a minute"
    if value == 0:
        return "nothing"
    if value == Fraction(1, 2):
        return "a half"
    for known, words, name in _CONSTANTS:
        if value == known and re.search(rf"\b(?:{words})\b", text):
            return name
    return ""

"""The equations of a worked solution as ordered operations, read by a small parser without eval.

GSM8K notes its calculations as `<<48/2=24>>`; mini-GSM writes them out, `48 / 2 = 24`. A note is
trusted. A written-out equation counts only if its two sides are equal, because the reader drops
units and letters: this keeps `3x - 5 = 16` from being read as `3 - 5`. In `48/2 = <<24=24>>` the
note has no operation, so the text before it is read instead.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from ..problems import Problem

OPERATORS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
_CALCULATE = {
    "add": lambda left, right: left + right,
    "subtract": lambda left, right: left - right,
    "multiply": lambda left, right: left * right,
    "divide": lambda left, right: left / right,
}

_NUMBER = r"(?:\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)"
_TOKEN = re.compile(rf"\s*(?:\$?\s*(?P<number>{_NUMBER})\s*(?P<percent>%?)|(?P<sign>[-+*/()]))")
_EQUATION = re.compile(  # a note, or "=" and the value behind it
    rf"<<(?P<note>[^<>]*)>>|(?P<equals>=)\s*\$?\s*(?:<<(?P<later>[^<>]*)>>|-?\$?(?P<value>{_NUMBER}\s*%?))?"
)
_UNIT = re.compile(r"[A-Za-z]+(?:[/'-][A-Za-z]+)*\.?")
_TIMES = re.compile(r"(?<=[\d)% ])[xX](?=[ \d$(.])|[×∙·]")
_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "÷": "/", "[": "(", "]": ")"})
_START = re.compile(r"(?<![\d.,])[(]*-?\$?\s*[.\d]|[(]+")


@dataclass(frozen=True)
class Number:
    """A number of an equation; "20%" has the value 1/5 and `percent` set.

    In a written fraction such as "3/4", the 3 has `below` 4 and the 4 has `above` 3.
    """

    value: Fraction
    percent: bool = False
    below: Fraction | None = None
    above: Fraction | None = None


@dataclass(frozen=True)
class Operation:
    """One binary operation; an operand is a Number or the index of an earlier operation."""

    name: str
    left: "Number | int"
    right: "Number | int"


@dataclass(frozen=True)
class Equation:
    """The operations of an equation in evaluation order, and the words around it.

    `value` is the result that the solution states, `exact` the result of the operations. `before`
    and `after` are the text of the same line up to the neighbouring equations, including a "$" in
    front of the result. `noted` is True for a note, False for a written-out equation.
    """

    operations: tuple[Operation, ...]
    value: Fraction
    exact: Fraction
    before: str
    after: str
    noted: bool


def parse_expression(text: str) -> tuple[tuple[Operation, ...], Fraction]:
    """The operations of an arithmetic expression in evaluation order, and its value.

    Numbers may have decimals, thousands commas, "$", "%" or a sign; "4(2)" is a product. Raises
    ValueError if the text is not an expression or divides by zero.
    """
    tokens, position = [], 0
    text = text.strip()
    while position < len(text):
        if not (match := _TOKEN.match(text, position)):
            raise ValueError(f"{text[:60]!r} has {text[position:][:10]!r}, which is no arithmetic")
        tokens.append(match)
        position = match.end()
    if len(tokens) > 100:  # people write short equations; the limit bounds the recursion
        raise ValueError(f"{text[:60]!r} is too long for one equation")
    return _Parser(text, tokens).parse()


class _Parser:
    """A recursive-descent parser; each level returns (operand, value) and records operations."""

    def __init__(self, text: str, tokens: list[re.Match[str]]) -> None:
        self.text, self.tokens, self.operations = text, tokens, []
        self.above: Fraction | None = None  # the numerator, if the next number is a denominator

    def parse(self) -> tuple[tuple[Operation, ...], Fraction]:
        _, value = self.sum()
        if self.tokens:
            raise ValueError(f"{self.text[:60]!r} is no arithmetic expression")
        return tuple(self.operations), value

    def sign(self) -> str | None:
        return self.tokens[0]["sign"] if self.tokens else None

    def sum(self) -> tuple[Number | int, Fraction]:
        left = self.product()
        while (sign := self.sign()) in ("+", "-"):
            self.tokens.pop(0)
            left = self.operation(sign, left, self.product())
        return left

    def product(self) -> tuple[Number | int, Fraction]:
        left = self.factor()
        while (sign := self.sign()) in ("*", "/", "("):
            if sign != "(":
                self.tokens.pop(0)
            left = self.operation("*" if sign == "(" else sign, left, self.factor())
        return left

    def factor(self) -> tuple[Number | int, Fraction]:
        token = self.tokens.pop(0) if self.tokens else None
        if token and token["number"]:
            value = _decimal(token["number"])
            value = value / 100 if token["percent"] else value
            over = len(self.tokens) > 1 and self.sign() == "/" and self.tokens[1]["number"]
            below = _decimal(over) if over else None
            above, self.above = self.above, value if over else None
            return Number(value, bool(token["percent"]), below, above), value
        self.above = None
        if token and token["sign"] == "(":
            inner = self.sum()
            if self.sign() == ")":
                self.tokens.pop(0)
                return inner
        if token and token["sign"] == "+":
            return self.factor()
        if token and token["sign"] == "-":
            operand, value = self.factor()
            if isinstance(operand, Number):  # a minus before a whole expression is not supported
                return replace(operand, value=-value), -value
        raise ValueError(f"{self.text[:60]!r} is no arithmetic expression")

    def operation(self, sign: str, left: tuple, right: tuple) -> tuple[int, Fraction]:
        name = OPERATORS[sign]
        if name == "divide" and right[1] == 0:
            raise ValueError(f"{self.text[:60]!r} divides by zero")
        self.operations.append(Operation(name, left[0], right[0]))
        return len(self.operations) - 1, _CALCULATE[name](left[1], right[1])


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").rstrip("."))


def read_equations(problem: Problem) -> list[Equation]:
    """The equations of `problem.solution` that make up its plan, in order.

    Every note with an operation counts. Without such notes, every written-out equation counts too.
    With notes, a written-out equation counts if it comes after the last note and that note does not
    give the answer, or if it is the first to give a value that a later equation uses. Raises
    ValueError if a note can't be read, there is no equation, or the last one does not give the
    answer.
    """
    equations = [e for line in problem.solution.split("\n") for e in _read_line(line)]
    answer = Fraction(problem.answer)
    noted = [index for index, equation in enumerate(equations) if equation.noted]
    last = noted[-1] if noted else -1
    if last >= 0 and gives(equations[last], answer):
        equations = equations[: last + 1]
    kept: list[Equation] = []
    wanted: set[Fraction] = set()
    for index in range(len(equations) - 1, -1, -1):
        equation = equations[index]
        earlier = {e.value for e in equations[:index]}
        if equation.noted or index > last or equation.value in wanted - earlier:
            kept.insert(0, equation)
            wanted -= {equation.value}
            wanted |= {
                operand.value
                for operation in equation.operations
                for operand in (operation.left, operation.right)
                if isinstance(operand, Number)
            }
    if not kept:
        raise ValueError(f"the solution of {problem.id} has no equation that can be read")
    if not noted and not gives(kept[-1], answer):
        raise ValueError(f"the equations of {problem.id} do not lead to its answer")
    return kept


def gives(equation: Equation, answer: Fraction) -> bool:
    """Whether an equation's result is the answer, possibly rounded or in per cent."""
    values = [v * scale for v in (equation.value, equation.exact) for scale in (1, 100)]
    return any(abs(value - answer) <= Fraction(51, 100) * (answer != value) for value in values)


def _read_line(line: str) -> list[Equation]:
    line = line.translate(_SIGNS)
    found: list[tuple[int, int, tuple, Fraction, Fraction, bool]] = []
    begin = 0
    for match in _EQUATION.finditer(line):
        note, value = match["note"] or match["later"], match["value"]
        left, _, right = (note or "").partition("=")
        if re.search(r"[-+*/(]", left.strip().lstrip("+-")):
            operations, exact = parse_expression(left)
            stated, _ = _stated(right, note)
            start = match.start("note" if match["note"] else "later") - 2
            found.append((start, match.end(), operations, stated, exact, True))
        elif match["equals"] and (value or note):
            stated = _stated(right, note)[0] if note else _stated(value, value)[0]
            written = _written_out(line[begin : match.start()], stated)
            if written:
                operations, exact = written
                start = match.start("value") if value else match.start("later") - 2
                found.append((start, match.end(), operations, stated, exact, False))
                begin = start  # "2*6 = 12 + 3 = 15": a result can start the next equation
        if note:
            begin = match.end()
    starts = [start for start, *_ in found[1:]] + [len(line)]
    ends = [0] + [end for _, end, *_ in found]
    return [
        Equation(operations, value, exact, line[last:start], line[end:next_start], noted)
        for (start, end, operations, value, exact, noted), last, next_start in zip(
            found, ends, starts, strict=False
        )
        if operations
    ]


def _stated(text: str, where: str) -> tuple[Fraction, bool]:
    try:
        operations, value = parse_expression(text)
    except ValueError:
        operations, value = (), None
    if value is None or operations:
        raise ValueError(f"the calculation {where[:60]!r} does not end in '= NUMBER'")
    return value, False


def _written_out(text: str, value: Fraction) -> tuple[tuple[Operation, ...], Fraction] | None:
    """The longest expression at the end of a text that gives the value; None if there is none."""
    plain = re.sub(r"(?<=\d) : (?=\$?\d)", " / ", _TIMES.sub("*", text))
    plain = _UNIT.sub(lambda word: " " * len(word[0]), plain)
    for start in _START.finditer(plain):
        try:
            operations, exact = parse_expression(plain[start.start() :])
        except ValueError:
            continue
        if operations and abs(exact - value) <= Fraction(6, 1000):
            return operations, exact
    return None

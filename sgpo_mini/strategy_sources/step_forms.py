"""The sentences of a strategy's steps: written from operations, and read back from the text.

    Add A, B and C to get R             Double A to get R       Take R as the sum of A and B
    Subtract B and C from A to get R    Halve A to get R        Take R as twice A
    Multiply A by B and by C to get R   Divide A by B to get R

The reader also understands other common forms: "Multiply by the number of rooms", "Add A to B, then
divide by C". It finds no operation in a sentence without one of these verbs ("combine the
quantities").
"""

import re
from dataclasses import dataclass

from ..strategies import Strategy

RESULTS = {"add": "sum", "subtract": "difference", "multiply": "product", "divide": "quotient"}
TWICE = "twice"  # this operand turns a product into "Double A", a quotient into "Halve A"

_VERBS = {"add": "add", "sum": "add", "subtract": "subtract", "deduct": "subtract"}
_VERBS |= {"multiply": "multiply", "divide": "divide"}
_VERBS |= {"double": "multiply", "triple": "multiply", "halve": "divide"}
_CLAUSE = re.compile(
    rf"(?i)(?:^|[.;,] |\band |\bthen )(?:then |finally,? |first,? |next,? |now )*"
    rf"(?P<verb>{'|'.join(_VERBS)})(?: up| together)?(?= )"
)
_DESCRIBED = re.compile(
    r"(?i)take (?P<result>.+?) as (?:(?P<two>twice|half of)|the (?P<noun>sum|difference|product|"
    r"quotient) of) (?P<operands>.+)"
)


@dataclass(frozen=True)
class ReadStep:
    """A step's text as read: its operations in order, the names of its operands, its result.

    `described` marks a step "Take R as the sum of ...": a calculation that the solution makes in
    its text, outside its notes.
    """

    operations: tuple[str, ...]
    operands: tuple[str, ...]
    result: str
    described: bool = False


def write_step(operation: str, operands: list[str], result: str, described: bool = False) -> str:
    """The sentence of one step; more than two operands are a chain, a + b + c or a - b - c.

    `read_steps` reads it back if no name has a comma, " and ", " by ", " from ", " to " or " as ".
    """
    if len(operands) == 2 and operands[1] == TWICE != operands[0]:
        if described:
            return f"Take {result} as {'half of' if operation == 'divide' else TWICE} {operands[0]}"
        return f"{'Halve' if operation == 'divide' else 'Double'} {operands[0]} to get {result}"
    first, *others = ["the size of a pair" if o == TWICE else o for o in operands]
    if described:
        return f"Take {result} as the {RESULTS[operation]} of {_listing([first, *others])}"
    if operation == "add":
        return f"Add {_listing([first, *others])} to get {result}"
    if operation == "subtract":
        return f"Subtract {_listing(others)} from {first} to get {result}"
    return f"{operation.capitalize()} {first} by {' and by '.join(others)} to get {result}"


def _listing(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def read_steps(strategy: Strategy | str) -> tuple[ReadStep, ...]:
    """The calculations that the steps of a strategy state, in order, read from the text.

    A step can state several calculations or none. If an operand is missing ("Multiply by the number
    of rooms"), the last result is meant.
    """
    steps = (strategy if isinstance(strategy, Strategy) else Strategy.parse(strategy)).steps
    return tuple(read for step in steps for read in _read_step(step))


def read_operations(strategy: Strategy | str, described: bool = False) -> tuple[str, ...]:
    """The operations that a strategy states, in order: ("divide", "add").

    With `described`, the steps "Take R as the sum of ..." count too (see `ReadStep`).
    """
    return tuple(
        operation
        for step in read_steps(strategy)
        if described or not step.described
        for operation in step.operations
    )


def read_structure(strategy: Strategy | str) -> tuple[tuple[str, tuple[int | None, ...]], ...]:
    """(operation, operands) for each step: an operand is the index of the step that computes it.

    None stands for a given quantity or a constant. Described steps count too.
    """
    results: dict[str, int] = {}
    structure = []
    for index, step in enumerate(read_steps(strategy)):
        operands = tuple(results.get(operand) for operand in step.operands)
        structure.append((step.operations[0], operands))
        results[step.result] = index
    return tuple(structure)


def _read_step(step: str) -> list[ReadStep]:
    step = step.strip().rstrip(".")
    if match := _DESCRIBED.fullmatch(step):
        operands = _parts(match["operands"])
        if match["two"]:
            name = "multiply" if match["two"].lower() == "twice" else "divide"
            return [ReadStep((name,), (*operands, TWICE), match["result"], True)]
        name = next(verb for verb, noun in RESULTS.items() if noun == match["noun"].lower())
        return [ReadStep((name,) * (len(operands) - 1), operands, match["result"], True)]
    found = []
    clauses = list(_CLAUSE.finditer(step))
    ends = [clause.start() for clause in clauses[1:]] + [len(step)]
    for match, end in zip(clauses, ends, strict=False):  # without a clause there is no operation
        said = step[match.end() : end]
        said = re.sub(r" to (?:find|obtain|give) ", " to get ", said)
        what, _, result = said.partition(" to get ")
        found.append(_read_clause(match["verb"].lower(), what.strip(" ,"), result.strip(" ,")))
    return found


def _read_clause(verb: str, what: str, result: str) -> ReadStep:
    name = _VERBS[verb]
    if verb in ("double", "halve", "triple"):
        return ReadStep((name,), (what, TWICE), result)
    if name == "add":
        first, _, second = what.partition(" to ")
        operands = (*_parts(first), *_parts(second)) if second else _parts(what)
    elif name == "subtract":
        taken, _, whole = what.rpartition(" from ")
        operands = (whole, *_parts(taken)) if taken else (what,)
    else:
        operands = tuple(part for part in re.split(r" and by | by |^by ", what) if part)
    return ReadStep((name,) * max(1, len(operands) - 1), operands, result)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(re.split(r", and |, | and ", text))

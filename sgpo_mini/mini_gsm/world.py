"""The problems of mini-GSM: stories, solutions, strategies and splits.

A **family** is a chain of clauses (`chains.py`) after a count. The true **plan** uses the clauses
that play a part, in the order told. Other plans fit the units too (`plans.py`), and the numbers
don't reveal which one is true. Only the words do: `reading.py` reads the true plan from them.
"""

import hashlib
import json
import random
from functools import cache

from ..problems import Problem
from ..strategies import Strategy
from ..support.markdown import markdown
from .chains import Family, families_of_chains, true_plan
from .grammar import (
    EACH,
    NAMES,
    OTHER_THINGS,
    PEOPLE,
    SEEN_FORMS,
    THINGS,
    Cast,
    first_sentence,
    question_of,
    sentence_of,
)
from .plans import SYMBOLS, Plan, intermediate_results, number_tuples, revealing_nothing

DATA, CONTROL = "mini-gsm", "mini-gsm-control"  # values of `Config.data`
TRANSFER_SPLITS = ("composed", "new_pairs", "longer", "unseen")
EXAMS = ("test", "reworded", *TRANSFER_SPLITS)
SPLITS = ("train", "validation", *EXAMS)
SPLITS += ("easy", "hard", "sure_and_wrong")
PROBLEMS_PER_FAMILY = {"train": 1, "validation": 1, "test": 1, "reworded": 1}
PROBLEMS_PER_FAMILY |= dict.fromkeys(TRANSFER_SPLITS, 3)
PROBLEMS_PER_FAMILY |= {"easy": 8, "hard": 2, "sure_and_wrong": 20}

# Each number tuple of a shape has a place in its list; the remainder of the place by 8 says what it
# is used for, in every family of the shape. So no evaluation uses numbers of training.
_SHARES = {"validation": (0,), "test": (1,), "reworded": (2,), "draws": (3,)}
_SHARES |= dict.fromkeys((*TRANSFER_SPLITS, "sure_and_wrong"), (1,))
TRAINING_SHARES = (4, 5, 6, 7)
EVALUATION_NAMES = 6  # names that a family's training problems don't use

PHRASES = {
    "add": "Add {}",
    "subtract": "Subtract {}",
    "multiply": "Multiply by {}",
    "divide": "Divide by {}",
}


def strategy_for(family: Family, plan: Plan) -> Strategy:
    """The strategy that describes a plan in words; its steps name quantities by their roles."""
    ways = {index: operation for operation, index in plan}
    steps = tuple(
        PHRASES[ways[i]].format(clause.role) if i in ways else f"Ignore {clause.role}"
        for i, clause in enumerate(family.clauses)
    )
    kind = "boxes and a few changes" if EACH in family.clauses else "a few changes"
    start = "boxes" if EACH in family.clauses else "amount"
    return Strategy(kind, f"work forward from the {start} counted", steps)


def plan_names(family: Family, plan: Plan) -> tuple[str, ...]:
    """A plan in the form of `Problem.plan`: ("add the amount found", ...)."""
    return tuple(f"{operation} {family.clauses[i].role}" for operation, i in plan)


def write_solution(family: Family, plan: Plan, numbers: tuple[int, ...]) -> str:
    """The step-by-step solution: a line for each clause, with its equation or "no change".

    The last line is `#### N`, as in GSM8K.
    """
    ways = {index: operation for operation, index in plan}
    results = dict(zip(ways, intermediate_results(plan, numbers), strict=True))
    running, lines = numbers[0], []
    for index, (clause, number) in enumerate(zip(family.clauses, numbers[1:], strict=True)):
        told = "no change"
        if index in ways:
            told = f"{running} {SYMBOLS[ways[index]]} {number} = {results[index]}"
            running = results[index]
        lines.append(f"{clause.label} {number}: {told}")
    return "\n".join([*lines, f"#### {running}"])


def write_expert_solution(plan: Plan, numbers: tuple[int, ...]) -> str:
    """The solution as a strong model would write it: one expression, without the steps."""
    expression, sum_outside = str(numbers[0]), False
    for operation, index in plan:
        if operation in ("multiply", "divide"):
            expression = f"({expression})" if sum_outside else expression
        sum_outside = operation in ("add", "subtract")
        expression = f"{expression} {SYMBOLS[operation]} {numbers[index + 1]}"
    answer = intermediate_results(plan, numbers)[-1]
    return f"{expression} = {answer}\n#### {answer}"


def write_story(
    family: Family, numbers: tuple[int, ...], cast: Cast, forms: tuple[int, ...]
) -> str:
    """The question: the count, the clauses and what is asked; `forms` has one for each sentence."""
    sentences = [first_sentence(EACH in family.clauses, numbers[0], cast, forms[0])]
    told = zip(family.clauses, numbers[1:], forms[1:-1], strict=True)
    sentences += [sentence_of(clause, number, cast, form) for clause, number, form in told]
    return " ".join([*sentences, question_of(cast, forms[-1])])


def draw_cast(names: list[str] | tuple[str, ...], generator: random.Random) -> Cast:
    """A person of the story from `names`, and other people and things, at random."""
    choose = generator.choice
    return Cast(choose(names), choose(THINGS), choose(PEOPLE), choose(OTHER_THINGS))


def draw_forms(sentences: int, generator: random.Random) -> tuple[int, ...]:
    """One of the trained forms for each sentence of a story."""
    return tuple(generator.randrange(SEEN_FORMS) for _ in range(sentences))


def write_problem(
    name: str,
    family: Family,
    plan: Plan,
    numbers: tuple[int, ...],
    cast: Cast,
    forms: tuple[int, ...],
) -> Problem:
    """A problem whose solution follows `plan`, with the strategy that says so."""
    return Problem(
        id=name,
        question=write_story(family, numbers, cast, forms),
        answer=str(intermediate_results(plan, numbers)[-1]),
        solution=write_solution(family, plan, numbers),
        expert_solution=write_expert_solution(plan, numbers),
        strategy=strategy_for(family, plan).text,
        family=family.name,
        plan=plan_names(family, plan),
    )


def names_of(family: Family) -> tuple[list[str], list[str]]:
    """(evaluation names, training names) of a family: one of four ways to part NAMES."""
    place = sum(map(ord, family.name)) * EVALUATION_NAMES % len(NAMES)
    turned = [*NAMES[place:], *NAMES[:place]]
    return turned[:EVALUATION_NAMES], turned[EVALUATION_NAMES:]


def families_of(split: str, control: bool = False) -> tuple[Family, ...]:
    """The families of a split: `validation` has an eighth of those of `train`, `test` another."""
    if split not in SPLITS:
        raise ValueError(f"mini-GSM has no split {split!r}; choose one of {', '.join(SPLITS)}")
    if split in ("validation", "test", "reworded"):
        return families_of_chains("train", control)[0 if split == "validation" else 4 :: 8]
    return families_of_chains(split, control)


def usable_numbers(family: Family, shares: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The number tuples of some shares with which only the family's true plan is right."""
    usable = revealing_nothing(family.shape, true_plan(family))
    tuples = enumerate(zip(number_tuples(family.shape), usable, strict=True))
    return [numbers for place, (numbers, alone) in tuples if alone and place % 8 in shares]


@cache
def make_problems(split: str, control: bool = False) -> tuple[Problem, ...]:
    """The fixed problems of a split, the same on every machine.

    `control` gives those of the control world (`chains.py`). Raises ValueError for an unknown
    split, naming the known ones.
    """
    return draw_problems(split, control=control, seed=None)


def draw_problems(split: str, *, seed: int | None, control: bool = False) -> tuple[Problem, ...]:
    """Other problems of a split's families, to look at before its fixed problems are opened.

    Their numbers are used nowhere else. `seed` None gives the fixed problems themselves.
    """
    families = families_of(split, control)
    generator = random.Random(f"mini-GSM {split}{'' if seed is None else f' draws {seed}'}")
    problems, questions = [], set()
    for family in families:
        shares = _SHARES.get(split, TRAINING_SHARES) if seed is None else _SHARES["draws"]
        tuples = usable_numbers(family, shares)
        names = names_of(family)[shares == TRAINING_SHARES]
        for number in range(PROBLEMS_PER_FAMILY[split]):
            while True:
                sentences = len(family.clauses) + 2
                forms = draw_forms(sentences, generator)
                if split == "reworded":
                    forms = (SEEN_FORMS,) * sentences
                problem = write_problem(
                    f"{split}-{family.name}-{number}",
                    family,
                    true_plan(family),
                    generator.choice(tuples),
                    draw_cast(names, generator),
                    forms,
                )
                if problem.question not in questions:
                    break
            questions.add(problem.question)
            problems.append(problem)
    return tuple(problems)


def checksum(split: str, control: bool = False) -> str:
    """SHA-256 of a split's problems, to check that two machines use the same ones."""
    text = json.dumps([vars(problem) for problem in make_problems(split, control)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def split_table() -> str:
    """The splits as a Markdown table with sizes and checksums, to quote with a result."""
    lines = [["split", "problems", "families", "SHA-256"]]
    for split in SPLITS:
        problems, families = len(make_problems(split)), len(families_of(split))
        lines.append([f"`{split}`", f"{problems:,}", str(families), f"`{checksum(split)}`"])
    return markdown(lines)

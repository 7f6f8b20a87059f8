"""mini-GSM: a generated world of story problems in GSM8K's form, small enough for a tiny student.

A **family** is a story: a starting quantity and one to four clauses, each of which adds one more
quantity. The true **plan** applies the clauses in the order told and leaves out those that are
irrelevant to the question. Other plans *fit* the units too (`plans.py`), and the numbers
don't reveal which one is true. Only the words do: `reading.py` reads the true plan from them.

The tiny student is pretrained on stories whose solutions follow a plan drawn uniformly from those
that fit (`pretraining_stream`). So it can carry out any given strategy, but does not know which one
a story needs. That is the situation in which SGPO has something to teach.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from functools import cache

from ..problems import Problem
from ..strategies import Strategy
from .plans import (
    SYMBOLS,
    Plan,
    allowed_operations,
    compute_fitting_plans,
    fitting_plans,
    intermediate_results,
    number_tuples,
    taught_plan,
    true_plan,
)
from .stories import CLAUSES, FAMILIES, ITEMS, NAMES, QUESTIONS, Family

SPLITS = ("train", "validation", "test", "reworded", "composed", "unseen")
SEEN_WORDINGS = 4  # of five; the fifth is kept for the split `reworded`
PROBLEMS_PER_FAMILY = {"train": 160, "validation": 20, "test": 20, "reworded": 20}
PROBLEMS_PER_FAMILY |= {"composed": 80, "unseen": 80}
PRACTICE_SHARE = 0.4  # of the pretraining problems: random clauses, always with a strategy
EVALUATION_NAMES = 6  # names that a family's training problems don't use

PHRASES = {
    "add": "Add {}",
    "subtract": "Subtract {}",
    "multiply": "Multiply by {}",
    "divide": "Divide by {}",
}


def strategy_for(family: Family, plan: Plan) -> Strategy:
    """The strategy that describes a plan in words; its steps name quantities by their roles."""
    steps = tuple(
        PHRASES[operation].format(CLAUSES[family.clauses[index]].role) for operation, index in plan
    )
    approach = f"work forward from {CLAUSES[family.start].role}"
    return Strategy(problem_type=family.problem_type, approach=approach, steps=steps)


def plan_names(family: Family, plan: Plan) -> tuple[str, ...]:
    """A plan in the form of `Problem.plan`: ("add the amount found", ...)."""
    return tuple(f"{op} {CLAUSES[family.clauses[index]].role}" for op, index in plan)


def write_solution(plan: Plan, numbers: tuple[int, ...]) -> str:
    """The step-by-step solution in GSM8K's line form: one equation a line, then `#### N`."""
    running, lines = numbers[0], []
    for (operation, index), result in zip(plan, intermediate_results(plan, numbers), strict=True):
        lines.append(f"{running} {SYMBOLS[operation]} {numbers[index + 1]} = {result}")
        running = result
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
    family: Family, numbers: tuple[int, ...], name: str, item: str, wordings: tuple[int, ...]
) -> str:
    """The question: start, clauses and what is asked; `wordings` chooses each sentence's form."""
    clauses = [CLAUSES[clause] for clause in (family.start, *family.clauses)]
    templates = [c.wordings[w] for c, w in zip(clauses, wordings, strict=False)]
    sentences = [t.format(n=name, x=item, q=q) for t, q in zip(templates, numbers, strict=True)]
    question = QUESTIONS[family.asks][wordings[-1]].format(n=name, x=item)
    return " ".join([*sentences, question])


def _problem(
    split: str, family: Family, number: int, numbers: tuple[int, ...], generator: random.Random
) -> Problem:
    evaluation_names, training_names = _names(family)
    name = generator.choice(training_names if split == "train" else evaluation_names)
    count = len(family.clauses) + 2
    if split == "reworded":
        wordings = (SEEN_WORDINGS,) * count
    else:
        wordings = tuple(generator.randrange(SEEN_WORDINGS) for _ in range(count))
    plan = true_plan(family)
    return Problem(
        id=f"{split}-{family.name}-{number:03d}",
        question=write_story(family, numbers, name, generator.choice(ITEMS), wordings),
        answer=str(intermediate_results(plan, numbers)[-1]),
        solution=write_solution(plan, numbers),
        expert_solution=write_expert_solution(plan, numbers),
        strategy=strategy_for(family, plan).text,
        family=family.name,
        plan=plan_names(family, plan),
    )


def _names(family: Family) -> tuple[list[str], list[str]]:
    """(evaluation names, training names) of a family; both differ from family to family."""
    shift = EVALUATION_NAMES * list(FAMILIES).index(family.name) % len(NAMES)
    turned = [*NAMES[shift:], *NAMES[:shift]]
    return turned[:EVALUATION_NAMES], turned[EVALUATION_NAMES:]


def families_of(split: str) -> list[Family]:
    """The families of a split; `reworded` is without the two "sure and wrong" ones."""
    kind = split if split in ("composed", "unseen") else "seen"
    chosen = [family for family in FAMILIES.values() if family.kind == kind]
    return [f for f in chosen if not (split == "reworded" and f.sure_and_wrong)]


@cache
def make_problems(split: str) -> tuple[Problem, ...]:
    """The fixed problems of a split of mini-GSM, the same on every machine.

    Raises ValueError for an unknown split, naming the known ones.
    """
    if split not in SPLITS:
        raise ValueError(f"mini-GSM has no split {split!r}; choose one of {', '.join(SPLITS)}")
    generator = random.Random(f"mini-GSM {split}")
    problems, questions = [], set()
    for family in families_of(split):
        numbers = _numbers(family, split)
        for number in range(PROBLEMS_PER_FAMILY[split]):
            chosen = numbers[number % len(numbers)]
            problem = _problem(split, family, number, chosen, generator)
            while problem.question in questions:
                problem = _problem(split, family, number, chosen, generator)
            questions.add(problem.question)
            problems.append(problem)
    return tuple(problems)


def _numbers(family: Family, split: str) -> tuple[tuple[int, ...], ...]:
    """The number tuples that a split may use; in a family no two splits share any."""
    tuples = number_tuples(family)
    if family.kind != "seen":
        return tuples[: PROBLEMS_PER_FAMILY[split]]
    # A family with few tuples repeats some in an evaluation split, so that half remain to train on.
    size = min(PROBLEMS_PER_FAMILY["validation"], len(tuples) // 6)
    shares = {"validation": 0, "test": 1, "reworded": 2}
    if split in shares:
        return tuples[shares[split] * size : (shares[split] + 1) * size]
    return tuples[len(shares) * size :]


def pretraining_stream(seed: int, practice_share: float = PRACTICE_SHARE) -> Iterator[Problem]:
    """Endless pretraining problems: a story, a fitting plan and the solution that follows it.

    With probability `practice_share`, the story is a random chain of clauses (`_practice_family`)
    and always has a strategy, so that the student learns to carry out strategies rather than to
    recognise families. The other stories are of the `train` families. Half of them have a strategy,
    drawn from all that fit; the others have none, and their plan is `taught_plan`. `answer` is the
    result of the plan, which often isn't the true plan.
    """
    generator = random.Random(f"pretraining {seed}")
    families = families_of("train")
    while True:
        if generator.random() < practice_share:
            family, plan, numbers = _practice(generator)
            guided, names = True, NAMES
        else:
            family = generator.choice(families)
            numbers = generator.choice(_numbers(family, "train"))
            guided, names = generator.random() < 0.5, _names(family)[1]
            fitting = fitting_plans(family)
            plan = generator.choice(fitting) if guided else taught_plan(family, generator)
        wordings = tuple(generator.randrange(SEEN_WORDINGS) for _ in range(len(numbers) + 1))
        name = generator.choice(names)
        yield Problem(
            id="",
            question=write_story(family, numbers, name, generator.choice(ITEMS), wordings),
            answer=str(intermediate_results(plan, numbers)[-1]),
            solution=write_solution(plan, numbers),
            strategy=strategy_for(family, plan).text if guided else "",
            family=family.name,
            plan=plan_names(family, plan),
        )


def _practice(generator: random.Random) -> tuple[Family, Plan, tuple[int, ...]]:
    """A random story, a plan that fits it, and numbers for which this plan works."""
    while True:
        family = _practice_family(generator)
        plans = () if _is_kept(family) else compute_fitting_plans(family)
        if not plans:
            continue
        plan = generator.choice(plans)
        ranges = [CLAUSES[name].numbers for name in (family.start, *family.clauses)]
        for _ in range(200):
            numbers = tuple(generator.choice(numbers) for numbers in ranges)
            if intermediate_results(plan, numbers):
                return family, plan, numbers


def _practice_family(generator: random.Random) -> Family:
    """A story of one to four clauses, drawn from those of the `train` families."""
    seen = families_of("train")
    start = generator.choice(sorted({family.start for family in seen}))
    names = sorted({name for family in seen for name in family.clauses})
    units, clauses = {CLAUSES[start].unit}, []
    for _ in range(generator.randint(1, 4)):
        fitting = [
            n
            for n in names
            if n not in clauses and any(allowed_operations(u, CLAUSES[n]) for u in units)
        ]
        clauses.append(generator.choice(fitting))
        units |= {
            made for unit in units for _, made in allowed_operations(unit, CLAUSES[clauses[-1]])
        }
    asks = generator.choice(sorted(units & set(QUESTIONS)) or [""])
    return Family("practice", generator.choice(seen).problem_type, start, tuple(clauses), asks)


def _is_kept(practice: Family) -> bool:
    """Whether a practice story is a family's own chain or has all clauses of a `composed` one."""
    own = any((practice.start, practice.clauses) == (f.start, f.clauses) for f in FAMILIES.values())
    told = set(practice.clauses)
    return own or any(told.issuperset(family.clauses) for family in families_of("composed"))


def checksum(split: str) -> str:
    """SHA-256 of a split's problems, to check that two machines use the same ones."""
    text = json.dumps([vars(problem) for problem in make_problems(split)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def split_table() -> str:
    """The splits as a Markdown table with sizes and checksums, to quote with a result."""
    lines = ["| split | problems | families | SHA-256 |", "| --- | --- | --- | --- |"]
    for split in SPLITS:
        problems, families = len(make_problems(split)), len(families_of(split))
        lines.append(f"| `{split}` | {problems:,} | {families} | `{checksum(split)}` |")
    return "\n".join(lines)

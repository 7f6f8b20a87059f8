"""mini-GSM: a generated world of story problems in GSM8K's form, small enough for a tiny student.

A **family** is a story: a starting quantity and one to four clauses, each of which brings one more
quantity. The true **plan** applies the clauses in the order in which they are told, and leaves out
those that have nothing to do with the question. Which other plans *fit* a story follows from the
units alone, by one rule for every family (`fitting_plans`): what is counted in the same unit can be
added or subtracted, a bare number can multiply or divide, a rate ("pens per box") can multiply what
it is a rate of; a quantity can be left out, the others are used in the order told, and the result
is counted in what the question asks for.

The tiny student is pretrained on stories whose solutions follow a plan drawn uniformly from those
that fit (`pretraining_stream`). So it can carry out any strategy that it is given, and is unsure
which one a story needs. That is the situation in which SGPO has something to teach. Numbers are
drawn so that *every* fitting plan gives positive whole numbers and a wrong plan a wrong answer:
they never betray the plan. Only the words of the story do, and `read_plan` shows that they do.
"""

import hashlib
import json
import operator
import random
import re
from collections.abc import Iterator
from functools import cache
from itertools import product

from ..problems import Problem
from ..strategies import Strategy
from .stories import CLAUSES, FAMILIES, ITEMS, NAMES, QUESTIONS, Clause, Family

SPLITS = ("train", "validation", "test", "reworded", "composed", "unseen")
LARGEST = 100  # no number in any story or solution is larger: the tiny student learns sums by heart
SEEN_WORDINGS = 4  # of five; the last one is kept for the split `reworded`
PROBLEMS_PER_FAMILY = {"train": 160, "validation": 20, "test": 20, "reworded": 20}
PROBLEMS_PER_FAMILY |= {"composed": 80, "unseen": 80}
PRACTICE_SHARE = 0.4  # of pretraining: stories of random clauses, with a strategy
EVALUATION_NAMES = 6  # of each family's names, kept out of its training problems

OPERATIONS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
}
OPPOSITE = {"add": "subtract", "subtract": "add", "multiply": "divide", "divide": "multiply"}
SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
PHRASES = {
    "add": "Add {}",
    "subtract": "Subtract {}",
    "multiply": "Multiply by {}",
    "divide": "Divide by {}",
}

_NO_STEP = ("start", "ignore")

# One step of a plan: (operation, index of the clause in the family's story).
Plan = tuple[tuple[str, int], ...]


@cache
def fitting_plans(family: Family) -> tuple[Plan, ...]:
    """Every plan that the units of the family's quantities allow, in a fixed order."""
    return _fitting_plans(family)


def _fitting_plans(family: Family) -> tuple[Plan, ...]:
    # By itself for practice stories, which are too many to keep the plans of.
    plans: list[tuple[Plan, str]] = [((), CLAUSES[family.start].unit)]
    for index, name in enumerate(family.clauses):
        plans += [  # beside the plans that leave this clause out
            ((*plan, (operation, index)), new_unit)
            for plan, unit in plans
            for operation, new_unit in _allowed(unit, CLAUSES[name])
        ]
    return tuple(plan for plan, unit in plans if plan and unit == family.asks)


def _allowed(unit: str, clause: Clause) -> list[tuple[str, str]]:
    """The operations that the units allow on a running amount, each with the unit of its result."""
    if clause.unit == unit:
        return [("add", unit), ("subtract", unit)]
    if clause.unit == "number":
        return [("multiply", unit), ("divide", unit)]
    made, _, of = clause.unit.partition(" per ")
    return [("multiply", made)] if of == unit else []


def true_plan(family: Family) -> Plan:
    """The plan that the story tells: its clauses in their order, each with its own operation."""
    operations = [(CLAUSES[name].operation, index) for index, name in enumerate(family.clauses)]
    return tuple(step for step in operations if step[0] != "ignore")


def taught_plan(family: Family, generator: random.Random) -> Plan:
    """The plan of one unguided pretraining solution: uniform over those that fit.

    The two "sure and wrong" families are the exception: there the student is always taught the
    same wrong plan, the true one with its last operation turned round.
    """
    if family.sure_and_wrong:
        *first, (operation, index) = true_plan(family)
        return (*first, (OPPOSITE[operation], index))
    return generator.choice(fitting_plans(family))


def intermediate_results(plan: Plan, numbers: tuple[int, ...]) -> list[int] | None:
    """The running amount after each step; None where one is not a whole number in 1..LARGEST."""
    running, results = numbers[0], []
    for operation, index in plan:
        running = OPERATIONS[operation](running, numbers[index + 1])
        if running != int(running) or not 1 <= running <= LARGEST:
            return None
        running = int(running)  # a quotient that came out whole
        results.append(running)
    return results


def _usable(family: Family, numbers: tuple[int, ...]) -> bool:
    """Whether no number betrays the plan: all fitting plans work, and the wrong ones fail."""
    results: dict[Plan, int] = {(): numbers[0]}
    for plan in fitting_plans(family):  # ... or the first steps of one that is longer
        for length in range(1, len(plan) + 1):
            if plan[:length] not in results:
                operation, index = plan[length - 1]
                result = OPERATIONS[operation](results[plan[: length - 1]], numbers[index + 1])
                if result != int(result) or not 1 <= result <= LARGEST:
                    return False
                results[plan[:length]] = int(result)
    answers = [results[plan] for plan in fitting_plans(family)]
    return answers.count(results[true_plan(family)]) == 1


@cache
def number_tuples(family: Family) -> tuple[tuple[int, ...], ...]:
    """All usable number tuples of a family, shuffled; the first ones belong to the evaluation."""
    ranges = [CLAUSES[name].numbers for name in (family.start, *family.clauses)]
    generator = random.Random(f"numbers {family.name}")
    size = 1
    for numbers in ranges:
        size *= len(numbers)
    if size <= 60_000:
        candidates = list(product(*ranges))
        generator.shuffle(candidates)
    else:
        drawn = (tuple(generator.choice(r) for r in ranges) for _ in range(60_000))
        candidates = list(dict.fromkeys(drawn))
    usable = []
    for numbers in candidates:
        if _usable(family, numbers):
            usable.append(numbers)
            if len(usable) == 600:
                break
    return tuple(usable)


def strategy_for(family: Family, plan: Plan) -> Strategy:
    """The strategy that describes a plan in words, its steps named by the roles of quantities."""
    steps = tuple(
        PHRASES[operation].format(CLAUSES[family.clauses[index]].role) for operation, index in plan
    )
    approach = f"work forward from {CLAUSES[family.start].role}"
    return Strategy(problem_type=family.problem_type, approach=approach, steps=steps)


def plan_names(family: Family, plan: Plan) -> tuple[str, ...]:
    """A plan as it stands in `Problem.plan`: "add the amount found", ..."""
    return tuple(f"{op} {CLAUSES[family.clauses[index]].role}" for op, index in plan)


def write_solution(plan: Plan, numbers: tuple[int, ...]) -> str:
    """The step-by-step solution in GSM8K's line form: one equation a line, then `#### N`."""
    running, lines = numbers[0], []
    for (operation, index), result in zip(plan, intermediate_results(plan, numbers), strict=True):
        lines.append(f"{running} {SYMBOLS[operation]} {numbers[index + 1]} = {result}")
        running = result
    return "\n".join([*lines, f"#### {running}"])


def write_expert_solution(plan: Plan, numbers: tuple[int, ...]) -> str:
    """The solution as a strong model would write it: one expression, the steps skipped."""
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
    """The question: start, clauses and what is asked; `wordings` picks a form of each sentence."""
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
    """(evaluation names, training names) of a family: each name trains in most other families."""
    shift = EVALUATION_NAMES * list(FAMILIES).index(family.name) % len(NAMES)
    turned = [*NAMES[shift:], *NAMES[:shift]]
    return turned[:EVALUATION_NAMES], turned[EVALUATION_NAMES:]


def families_of(split: str) -> list[Family]:
    """The families of a split; `reworded` leaves the two "sure and wrong" ones out."""
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
    """The number tuples that a split may use: those of two splits never meet in a family."""
    tuples = number_tuples(family)
    if family.kind != "seen":
        return tuples[: PROBLEMS_PER_FAMILY[split]]
    # A family of few tuples repeats some within an evaluation split: half are left to train on.
    size = min(PROBLEMS_PER_FAMILY["validation"], len(tuples) // 6)
    shares = {"validation": 0, "test": 1, "reworded": 2}
    if split in shares:
        return tuples[shares[split] * size : (shares[split] + 1) * size]
    return tuples[len(shares) * size :]


def pretraining_stream(seed: int, practice_share: float = PRACTICE_SHARE) -> Iterator[Problem]:
    """Endless pretraining problems: a story, a fitting plan, the solution that follows it.

    With probability `practice_share` the story is a chain of clauses drawn at random
    (`_practice_family`), and a strategy stands with it: the student learns to carry strategies out,
    not to recognise families. The others are stories of the `train` families, half of them with a
    strategy, which is drawn from all that fit; where `strategy` is empty, the plan is the one that
    the student is taught for such a story (`taught_plan`). `answer` is the plan's result, so often
    not the story's.
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
        plans = () if _is_kept(family) else _fitting_plans(family)
        if not plans:
            continue
        plan = generator.choice(plans)
        ranges = [CLAUSES[name].numbers for name in (family.start, *family.clauses)]
        for _ in range(200):
            numbers = tuple(generator.choice(numbers) for numbers in ranges)
            if intermediate_results(plan, numbers):
                return family, plan, numbers


def _practice_family(generator: random.Random) -> Family:
    """A story of one to four random clauses of the `train` families."""
    seen = families_of("train")
    start = generator.choice(sorted({family.start for family in seen}))
    names = sorted({name for family in seen for name in family.clauses})
    units, clauses = {CLAUSES[start].unit}, []
    for _ in range(generator.randint(1, 4)):
        fitting = [
            n for n in names if n not in clauses and any(_allowed(u, CLAUSES[n]) for u in units)
        ]
        clauses.append(generator.choice(fitting))
        units |= {made for unit in units for _, made in _allowed(unit, CLAUSES[clauses[-1]])}
    asks = generator.choice(sorted(units & set(QUESTIONS)) or [""])
    return Family("practice", generator.choice(seen).problem_type, start, tuple(clauses), asks)


def _is_kept(practice: Family) -> bool:
    """Whether it is a family's own chain, or has all clauses of a `composed` one."""
    own = any((practice.start, practice.clauses) == (f.start, f.clauses) for f in FAMILIES.values())
    told = set(practice.clauses)
    return own or any(told.issuperset(family.clauses) for family in families_of("composed"))


@cache
def _patterns() -> list[tuple[Clause, re.Pattern[str]]]:
    slots = {r"\{n\}": "(?:" + "|".join(NAMES) + ")", r"\{q\}": r"(\d+)"}
    slots[r"\{x\}"] = "(?:" + "|".join(ITEMS) + ")"
    patterns = []
    for clause in CLAUSES.values():
        for wording in clause.wordings:
            pattern = re.escape(wording)
            for slot, choices in slots.items():
                pattern = pattern.replace(slot, choices)
            patterns.append((clause, re.compile(r"(?:^|(?<=[.?)] ))" + pattern + r"(?= |$)")))
    return patterns


def read_plan(question: str) -> tuple[str, ...]:
    """The true plan of a mini-GSM question, read by rule from its words alone.

    Each sentence names one clause, the clause its operation (or that it has none), and the story
    tells the clauses in the order of the plan. That such a rule exists is what makes the right
    answer learnable.

    Raises ValueError where no sentence of the question is one of mini-GSM's.
    """
    clauses = [clause for _, clause in read_quantities(question)]
    return tuple(f"{c.operation} {c.role}" for c in clauses if c.operation not in _NO_STEP)


def read_quantities(question: str) -> tuple[tuple[int, Clause], ...]:
    """The numbers of a mini-GSM question in the order told, each with its clause, the start first.

    Raises ValueError where no sentence of the question is one of mini-GSM's.
    """
    found: dict[int, tuple[int, Clause]] = {}
    for clause, pattern in _patterns():
        for match in pattern.finditer(question):
            found[match.start()] = (int(match[1]), clause)
    if not found:
        raise ValueError(f"no sentence of mini-GSM in the question {question[:60]!r}")
    return tuple(found[position] for position in sorted(found))


def checksum(split: str) -> str:
    """SHA-256 of a split's problems, so that others can check that they use the same ones."""
    text = json.dumps([vars(problem) for problem in make_problems(split)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def split_table() -> str:
    """The splits in Markdown, to be quoted with a result: sizes and checksums."""
    lines = ["| split | problems | families | SHA-256 |", "| --- | --- | --- | --- |"]
    for split in SPLITS:
        problems, families = len(make_problems(split)), len(families_of(split))
        lines.append(f"| `{split}` | {problems:,} | {families} | `{checksum(split)}` |")
    return "\n".join(lines)

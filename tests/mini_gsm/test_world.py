"""mini-GSM: the facts that make the embedded world a fair one to compare methods in."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from functools import cache
from itertools import chain, islice, product
from pathlib import Path

import pytest

from sgpo_mini.mini_gsm.plans import LARGEST, fitting_plans, true_plan
from sgpo_mini.mini_gsm.pretraining import BATCH_SIZE, STEPS, vocabulary_texts
from sgpo_mini.mini_gsm.reading import read_plan
from sgpo_mini.mini_gsm.stories import CLAUSES, ITEMS, NAMES
from sgpo_mini.mini_gsm.world import (
    FAMILIES,
    PRACTICE_SHARE,
    SPLITS,
    checksum,
    make_problems,
    pretraining_stream,
    split_table,
)
from sgpo_mini.strategies import Strategy, autonomous_prompt, guided_prompt, leaks
from sgpo_mini.student import new_student

# Others compare with runs on exactly these problems: changing one letter makes a new world.
CHECKSUMS = {
    "train": "b16be06d49ce2c44ca5591f148e92c0c71d6f7075fb7f343439bb9a93e644b92",
    "validation": "7971d63413288bb8dbdcb90d6ae35aca03b33c758d108506cf93269fd06111c9",
    "test": "c9bcf82aef46a61ddb6b11d38720c2d23bb6e0662eccc9b232baf4d9ee490fdf",
    "reworded": "5c60119479fe8e17b3b216404a6f453414bc2610322c2e6b86f1d83307afd21b",
    "composed": "91b638dced673a4651261e20a08410288f90fc23eec61e7d6af2f819e91ba99b",
    "unseen": "bc42534c8fa18a10e5eb3252c03f69c50806e00feb5986de88fedee455d6af47",
}
STREAM_CHECKSUM = "45db08acd54d30bf766e68a332adf3c09bce2e1ee9cca8ed99a1e1e968d87866"

EVALUATION = [split for split in SPLITS if split != "train"]
SEEN = [family for family in FAMILIES.values() if family.kind == "seen"]
FAIR = [family for family in SEEN if not family.sure_and_wrong]
SURE_AND_WRONG = [family for family in SEEN if family.sure_and_wrong]
COMPOSED = [family for family in FAMILIES.values() if family.kind == "composed"]
UNSEEN = [family for family in FAMILIES.values() if family.kind == "unseen"]
SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
PHRASES = {"add": "Add", "subtract": "Subtract", "multiply": "Multiply by", "divide": "Divide by"}
PRETRAINING_EXAMPLES = STEPS * BATCH_SIZE

by_name = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
each_composed = pytest.mark.parametrize("family", COMPOSED, ids=lambda family: family.name)


def all_problems():
    return [problem for split in SPLITS for problem in make_problems(split)]


@pytest.fixture(scope="module")
def stream():
    return list(islice(pretraining_stream(0), 60_000))


@pytest.fixture(scope="module")
def family_stream(stream):
    """The family stories of the stream, without the practice stories of random clauses."""
    return [problem for problem in stream if problem.family != "practice"]


@pytest.fixture(scope="module")
def student():
    return new_student(vocabulary_texts(), layers=1, width=32)


def numbers_of(question):
    return tuple(map(int, re.findall(r"\d+", question)))


def names_of(question):
    return set(re.findall(rf"\b(?:{'|'.join(NAMES)})\b", question))


def forms_of(question):
    """The wording of each sentence: names, things and numbers blanked out."""
    text = re.sub(rf"\b(?:{'|'.join(NAMES)})\b", "NAME", question)
    text = re.sub(rf"\b(?:{'|'.join(ITEMS)})\b", "THINGS", text)
    return re.split(r"(?<=[.?]) ", re.sub(r"\d+", "NUMBER", text))


@cache
def sentences():
    """The clause of each sentence with names, things and numbers blanked out."""
    blanks = {"n": "NAME", "x": "THINGS", "q": "NUMBER"}
    forms = {w.format(**blanks): name for name, c in CLAUSES.items() for w in c.wordings}
    assert len(forms) == 5 * len(CLAUSES)  # no sentence belongs to two clauses
    return forms


def clauses_of(question):
    """The names of the clauses after the first sentence, as told."""
    return [sentences()[form] for form in forms_of(question)[1:-1]]


def words_of(question):
    return {word for word in re.findall(r"\w+|[^\w\s]", question) if not word.isdigit()}


def in_words(family, plan):
    return tuple(f"{operation} {CLAUSES[family.clauses[i]].role}" for operation, i in plan)


def is_piece(part, whole):
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))


def run_plan(plan, numbers):
    """The exact running amount after each step."""
    running, results = numbers[0], []
    for operation, index in plan:
        number = numbers[index + 1]
        if operation == "divide":
            exact = Fraction(running) / number
            running = exact.numerator if exact.denominator == 1 else exact
        else:
            running = {
                "add": running + number,
                "subtract": running - number,
                "multiply": running * number,
            }[operation]
        results.append(running)
    return results


def evaluate_expression(text):
    """The value of an expression in + - * / and brackets, as a schoolbook reads it."""
    tokens = re.findall(r"\d+|[-+*/()]", text)
    assert "".join(tokens) == text.replace(" ", "")

    def atom():
        token = tokens.pop(0)
        if token != "(":
            return Fraction(int(token))
        value = total()
        assert tokens.pop(0) == ")"
        return value

    def term():
        value = atom()
        while tokens and tokens[0] in "*/":
            value = value * atom() if tokens.pop(0) == "*" else value / atom()
        return value

    def total():
        value = term()
        while tokens and tokens[0] in "+-":
            value = value + term() if tokens.pop(0) == "+" else value - term()
        return value

    value = total()
    assert not tokens
    return value


def check_solution(problem):
    """Each line of the solution does one step of the plan, on the question's numbers."""
    running, *quantities = numbers_of(problem.question)
    names = clauses_of(problem.question)
    assert len(quantities) == len(names)
    *lines, last = problem.solution.split("\n")
    assert len(lines) == len(problem.plan)
    for line, step in zip(lines, problem.plan, strict=True):
        operation, role = step.split(" ", 1)
        (number,) = (q for q, n in zip(quantities, names, strict=True) if CLAUSES[n].role == role)
        left, result = line.split(" = ")
        assert left == f"{running} {SYMBOLS[operation]} {number}"
        assert evaluate_expression(left) == int(result)
        running = int(result)
    assert last == f"#### {running}" and problem.answer == str(running)


# Families and splits


def test_the_seen_families_have_one_to_four_steps_and_two_more_are_sure_and_wrong():
    assert len(FAIR) >= 16
    assert {len(true_plan(family)) for family in FAIR} == {1, 2, 3, 4}
    assert len(SURE_AND_WRONG) == 2


def test_what_leaves_a_choice_is_told_in_one_seen_family_only():
    told = Counter(name for family in SEEN for name in family.clauses)
    assert {n for n in told if told[n] > 1} == {n for n in told if " per " in CLAUSES[n].unit}


def test_six_splits_with_at_least_300_problems_to_evaluate_on():
    assert SPLITS == ("train", "validation", "test", "reworded", "composed", "unseen")
    for split in EVALUATION:
        assert len(make_problems(split)) >= 300
    assert len(make_problems("train")) >= 3000


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_holds_the_families_that_it_is_for(split):
    wanted = {"reworded": FAIR, "composed": COMPOSED, "unseen": UNSEEN}.get(split, SEEN)
    problems = make_problems(split)
    counts = Counter(problem.family for problem in problems)
    assert set(counts) == {family.name for family in wanted}
    assert len(set(counts.values())) == 1  # so that a mean over problems is one over families
    assert len({problem.id for problem in problems}) == len(problems)


def test_an_unknown_split_is_refused_with_the_names_of_the_known_ones():
    with pytest.raises(ValueError, match="nope") as error:
        make_problems("nope")
    assert all(split in str(error.value) for split in SPLITS)


def test_all_questions_differ_within_and_across_splits():
    counts = Counter(problem.question for problem in all_problems())
    assert max(counts.values()) == 1


@pytest.mark.parametrize("split", SPLITS)
def test_the_splits_are_fixed(split):
    assert checksum(split) == CHECKSUMS[split]


def test_the_table_of_splits_can_be_quoted_and_is_the_one_in_the_results():
    table = split_table()
    assert f"| `test` | 420 | 21 | `{CHECKSUMS['test']}` |" in table
    assert f"| `composed` | 320 | 4 | `{CHECKSUMS['composed']}` |" in table
    assert len(table.splitlines()) == 2 + len(SPLITS)
    page = Path(__file__).parents[2] / "sgpo_mini" / "results" / "world.md"
    assert table in page.read_text(encoding="utf-8")


def test_problems_and_stream_do_not_depend_on_the_hash_seed():
    code = """
import hashlib, json
from itertools import islice
from sgpo_mini.mini_gsm.world import SPLITS, checksum, pretraining_stream
stream = [vars(problem) for problem in islice(pretraining_stream(0), 2000)]
text = json.dumps(stream, sort_keys=True)
print(json.dumps([{s: checksum(s) for s in SPLITS}, hashlib.sha256(text.encode()).hexdigest()]))
"""
    other = "12" if os.environ.get("PYTHONHASHSEED") == "11" else "11"
    environment = os.environ | {"PYTHONHASHSEED": other}
    output = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    ).stdout
    assert json.loads(output) == [CHECKSUMS, STREAM_CHECKSUM]


# What is kept out of training for evaluation


def test_nothing_to_evaluate_on_occurs_in_training_or_in_all_of_pretraining():
    problems = [problem for split in EVALUATION for problem in make_problems(split)]
    questions = {problem.question for problem in problems}
    tuples = {(problem.family, numbers_of(problem.question)) for problem in problems}
    names = defaultdict(set)
    for problem in problems:
        names[problem.family] |= names_of(problem.question)
    pretraining = islice(pretraining_stream(0), PRETRAINING_EXAMPLES)
    for problem in chain(make_problems("train"), pretraining):
        assert problem.question not in questions
        assert (problem.family, numbers_of(problem.question)) not in tuples
        assert not names_of(problem.question) & names[problem.family]


def test_no_number_tuple_of_a_family_is_in_two_splits():
    splits = defaultdict(set)
    for split in SPLITS:
        for problem in make_problems(split):
            splits[problem.family, numbers_of(problem.question)].add(split)
    assert all(len(found) == 1 for found in splits.values())


def test_each_sentence_of_a_seen_family_has_four_wordings_and_reworded_has_another(family_stream):
    seen, reworded = defaultdict(set), defaultdict(set)
    for problem in [*family_stream, *(p for s in SPLITS[:3] for p in make_problems(s))]:
        for position, form in enumerate(forms_of(problem.question)):
            seen[problem.family, position].add(form)
    for problem in make_problems("reworded"):
        for position, form in enumerate(forms_of(problem.question)):
            reworded[problem.family, position].add(form)
    places = {(f.name, i) for f in SEEN for i in range(len(f.clauses) + 2)}
    assert set(seen) == places
    assert min(len(forms) for forms in seen.values()) >= 4
    assert set(reworded) == {(f.name, i) for f in FAIR for i in range(len(f.clauses) + 2)}
    assert all(len(forms) == 1 for forms in reworded.values())
    assert not set.union(*seen.values()) & set.union(*reworded.values())


def test_each_word_of_reworded_occurs_in_seen_stories_of_another_family(family_stream):
    families = defaultdict(set)
    for problem in family_stream:
        for word in words_of(problem.question):
            families[word].add(problem.family)
    for problem in make_problems("reworded"):
        for word in words_of(problem.question):
            assert families[word] - {problem.family}, word


def test_each_token_of_each_split_occurs_50_times_in_pretraining(student):
    needed = set()
    for problem in all_problems():
        guided = student.prompt_ids(problem.question, problem.strategy)
        assert (
            student.decode(guided)
            == guided_prompt(problem.question, problem.strategy)[0]["content"]
        )
        needed.update(guided, student.prompt_ids(problem.question))
        for text in (problem.solution, problem.expert_solution):
            ids = student.completion_ids(text)
            assert student.decode(ids) == text
            needed.update(ids)
    counts = Counter()
    lacking = {token: student.tokenizer.decode([token]).strip() for token in needed}
    for number, problem in enumerate(islice(pretraining_stream(0), PRETRAINING_EXAMPLES)):
        if number % 500 == 0:
            lacking = {token: piece for token, piece in lacking.items() if counts[token] < 50}
            if not lacking:
                break
            pieces = re.compile("|".join(map(re.escape, lacking.values())))
        text = f"{problem.question} {problem.strategy} {problem.solution}"
        if pieces.search(text):  # tokenize only texts that may have a lacking token
            counts.update(student.prompt_ids(problem.question, problem.strategy))
            counts.update(student.completion_ids(problem.solution))
    assert not lacking


def test_the_student_can_write_each_word_of_pretraining(student, stream):
    for problem in stream[:1000]:
        message = autonomous_prompt(problem.question)
        if problem.strategy:
            message = guided_prompt(problem.question, problem.strategy)
        ids = student.prompt_ids(problem.question, problem.strategy)
        assert student.decode(ids) == message[0]["content"]
        assert student.decode(student.completion_ids(problem.solution)) == problem.solution


@each_composed
def test_the_chain_of_a_composed_family_is_new_but_its_parts_are_not(family, stream):
    plan = in_words(family, true_plan(family))
    for seen in SEEN:
        assert not is_piece(family.clauses, seen.clauses)
        assert not any(is_piece(plan, in_words(seen, fit)) for fit in fitting_plans(seen))
    for practice in stream:
        assert not set(family.clauses) <= set(clauses_of(practice.question))
    taught = [in_words(seen, true_plan(seen)) for seen in FAIR]
    assert any(
        all(any(is_piece(part, whole) for whole in taught) for part in (plan[:cut], plan[cut:]))
        for cut in range(1, len(plan))
    )


@pytest.mark.parametrize("family", UNSEEN, ids=lambda family: family.name)
def test_no_quantity_of_an_unseen_family_is_in_a_seen_one(family, stream):
    roles = {CLAUSES[clause].role for clause in family.clauses}
    assert not roles & {CLAUSES[clause].role for seen in SEEN for clause in seen.clauses}
    assert not roles & {step.split(" ", 1)[1] for problem in stream for step in problem.plan}


# Plans and numbers


@by_name
def test_the_plans_that_fit_are_all_those_that_the_units_allow(family):
    clauses = [CLAUSES[name] for name in family.clauses]

    def unit_after(plan):
        unit = CLAUSES[family.start].unit
        for operation, index in plan:
            other = clauses[index].unit
            if operation in ("add", "subtract"):
                fits = other == unit
            elif other == "number":
                fits = True
            else:
                fits = operation == "multiply" and other.endswith(f" per {unit}")
                unit = other.split(" per ")[0]
            if not fits:
                return None
        return unit

    every = (
        tuple((operation, index) for index, operation in enumerate(operations) if operation)
        for operations in product([*SYMBOLS, None], repeat=len(clauses))
    )
    plans = fitting_plans(family)
    assert len(set(plans)) == len(plans)
    assert set(plans) == {plan for plan in every if plan and unit_after(plan) == family.asks}
    assert true_plan(family) in plans


def test_the_true_plan_can_be_read_from_the_question_alone():
    for problem in all_problems():
        assert read_plan(problem.question) == problem.plan
        assert problem.plan == in_words(
            FAMILIES[problem.family], true_plan(FAMILIES[problem.family])
        )


def test_a_question_from_elsewhere_has_no_plan_to_read():
    with pytest.raises(ValueError, match="Natalia sold clips"):
        read_plan("Natalia sold clips to 48 of her friends.")


@by_name
def test_numbers_never_reveal_the_plan(family, stream):
    probe = tuple(map(Fraction, (8917, 731, 377, 513, 291)))  # no two formulas agree on these
    formula = {plan: run_plan(plan, probe)[-1] for plan in fitting_plans(family)}
    truth = true_plan(family)
    cases = {
        numbers_of(problem.question)
        for problem in [*all_problems(), *stream]
        if problem.family == family.name
    }
    assert len(cases) >= 40
    for numbers in cases:
        assert max(numbers) <= LARGEST
        answer = run_plan(truth, numbers)[-1]
        for plan in formula:
            results = run_plan(plan, numbers)
            assert all(type(result) is int and 1 <= result <= LARGEST for result in results)
            assert (results[-1] == answer) == (formula[plan] == formula[truth])


# Solutions and strategies


def test_the_arithmetic_of_each_solution_is_right(stream):
    for problem in [*all_problems(), *stream[:5000]]:
        check_solution(problem)


def test_the_expert_solves_it_in_one_expression():
    for problem in all_problems():
        first, last = problem.expert_solution.split("\n")
        expression, result = first.split(" = ")
        assert evaluate_expression(expression) == int(result)
        assert result == problem.answer and last == f"#### {problem.answer}"
        family, numbers = FAMILIES[problem.family], numbers_of(problem.question)
        used = [numbers[0], *(numbers[index + 1] for _, index in true_plan(family))]
        assert list(numbers_of(expression)) == used


def test_each_strategy_tells_the_plan_and_nothing_of_the_instance():
    for problem in all_problems():
        strategy = Strategy.parse(problem.strategy)
        assert strategy.text == problem.strategy
        assert leaks(strategy, problem) == [] == leaks(problem.strategy, problem)
        steps = [step.split(" ", 1) for step in problem.plan]
        assert strategy.steps == tuple(f"{PHRASES[verb]} {role}" for verb, role in steps)


# The pretraining stream


def test_a_guided_example_follows_its_strategy(stream):
    guided = [problem for problem in stream[:5000] if problem.strategy]
    for problem in guided:
        strategy = Strategy.parse(problem.strategy)
        assert leaks(strategy, problem) == []
        steps = [step.split(" ", 1) for step in problem.plan]
        assert strategy.steps == tuple(f"{PHRASES[verb]} {role}" for verb, role in steps)


def test_half_of_the_family_stories_and_all_practice_stories_are_guided(stream, family_stream):
    practice = [problem for problem in stream if problem.family == "practice"]
    share, size = PRACTICE_SHARE, len(stream)
    assert abs(len(practice) - share * size) < 4 * (share * (1 - share) * size) ** 0.5
    assert all(problem.strategy for problem in practice)
    guided, size = sum(bool(problem.strategy) for problem in family_stream), len(family_stream)
    assert abs(guided - size / 2) < 4 * (size / 4) ** 0.5


def test_the_share_of_practice_can_be_set():
    assert all(p.family == "practice" for p in islice(pretraining_stream(0, 1.0), 200))
    assert not any(p.family == "practice" for p in islice(pretraining_stream(0, 0.0), 200))


def test_practice_tells_clauses_of_seen_families_in_new_chains(stream):
    known = {(family.start, family.clauses) for family in FAMILIES.values()}
    told = {name for family in SEEN for name in family.clauses}
    found, lengths = set(), Counter()
    for problem in stream[:20_000]:
        if problem.family == "practice":
            start, *names = (sentences()[form] for form in forms_of(problem.question)[:-1])
            assert (start, tuple(names)) not in known
            found.update(names)
            lengths[len(names)] += 1
    assert found == told
    assert set(lengths) == {1, 2, 3, 4}


def test_plans_are_drawn_uniformly_from_those_that_fit(family_stream):
    counts = defaultdict(Counter)
    for problem in family_stream:
        counts[problem.family, bool(problem.strategy)][problem.plan] += 1
    for family in SEEN:
        plans = {in_words(family, plan) for plan in fitting_plans(family)}
        for guided in (True,) if family.sure_and_wrong else (True, False):
            found = counts[family.name, guided]
            assert set(found) <= plans
            if len(plans) == 1:
                continue
            expected, freedom = found.total() / len(plans), len(plans) - 1
            chi_square = sum((found[plan] - expected) ** 2 / expected for plan in plans)
            z = (chi_square - freedom) / (2 * freedom) ** 0.5
            assert abs(z) < 4, (family.name, guided)


def test_families_are_drawn_alike(family_stream):
    counts = Counter(problem.family for problem in family_stream)
    expected = len(family_stream) / len(SEEN)
    assert set(counts) == {family.name for family in SEEN}
    assert all(abs(count - expected) < 4 * expected**0.5 for count in counts.values())


def test_the_sure_and_wrong_families_are_taught_one_wrong_plan_always_the_same(stream):
    for family in SURE_AND_WRONG:
        unguided = [p for p in stream if p.family == family.name and not p.strategy]
        assert len(unguided) > 500
        (taught,) = {problem.plan for problem in unguided}
        assert taught in {in_words(family, plan) for plan in fitting_plans(family)}
        for problem in unguided:
            right = run_plan(true_plan(family), numbers_of(problem.question))[-1]
            assert int(problem.answer) != right


def test_the_stream_is_fixed_by_its_seed(stream):
    text = json.dumps([vars(problem) for problem in stream[:2000]], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == STREAM_CHECKSUM
    assert list(islice(pretraining_stream(1), 500)) == list(islice(pretraining_stream(1), 500))
    assert list(islice(pretraining_stream(1), 500)) != stream[:500]

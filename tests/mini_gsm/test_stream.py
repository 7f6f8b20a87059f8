"""The pretraining stream: what it teaches and what it leaves open."""

import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from itertools import islice

import pytest

from sgpo_mini.mini_gsm.chains import (
    draw_ways,
    known_ways,
    true_plan,
    true_ways,
)
from sgpo_mini.mini_gsm.grammar import (
    CHANGES,
    EACH,
    KNOWN_VERBS,
    NAMES,
    NEW_VERBS,
    OTHER_THINGS,
    SCALES,
    THINGS,
    Clause,
)
from sgpo_mini.mini_gsm.plans import fitting_plans
from sgpo_mini.mini_gsm.pretraining import BATCH_SIZE, GROWING, STEPS
from sgpo_mini.mini_gsm.reading import read_quantities
from sgpo_mini.mini_gsm.stream import pretraining_stream
from sgpo_mini.mini_gsm.world import SPLITS, families_of, make_problems, plan_names

STREAM_CHECKSUM = "e5b290855bec88554ba32a8a71b6105aafbc4b285575b27ebf582586f85fc045"


@pytest.fixture(scope="module")
def stream():
    return list(islice(pretraining_stream(0), 12_000))


def practice(problems, guided=False):
    return [p for p in problems if p.family == "practice" and bool(p.strategy) == guided]


def clauses_of(problem):
    return tuple(clause for _, clause in read_quantities(problem.question) if clause)


def ways_told(problem):
    """What a solution does with each clause of a story, "" where it says "no change"."""
    ways = {role: way for way, role in (step.split(" ", 1) for step in problem.plan)}
    return [ways.get(clause.role, "") for clause in clauses_of(problem)]


def test_half_of_pretraining_is_guided(stream):
    share = sum(bool(problem.strategy) for problem in stream) / len(stream)
    assert abs(share - 0.5) < 0.02


def test_a_guided_plan_is_drawn_from_all_that_fit(stream):
    plans = Counter()
    for problem in practice(stream, guided=True):
        clauses = clauses_of(problem)
        if [clause.kind for clause in clauses] == ["change"] * 2:
            plans[tuple(ways_told(problem))] += 1
    assert len(plans) == len(fitting_plans(("change", "change"))) == 8
    expected = plans.total() / 8
    assert expected > 50
    assert all(abs(count - expected) < 4 * expected**0.5 for count in plans.values())


def test_unguided_solutions_know_the_settings_and_a_few_verbs(stream):
    """A clause that its setting rules out does nothing, a known verb what it does."""
    done: dict[str, Counter] = defaultdict(Counter)
    for problem in practice(stream):
        clauses = clauses_of(problem)
        if not any(clause.setting == "plain" for clause in clauses):
            continue  # then anything may happen
        for clause, way in zip(clauses, ways_told(problem), strict=True):
            if clause.setting != "plain":
                assert way == ""
            else:
                done[clause.verb][way] += 1
    assert set(done) == {"held", *CHANGES, *SCALES}
    for verb in ("held", *KNOWN_VERBS):
        assert set(done[verb]) == {Clause(verb).operation}
    for verb in NEW_VERBS:
        ways = done[verb]
        assert len(ways) == 3
        error = (2 / 9 / ways.total()) ** 0.5
        for way in ways:  # a plan in which nothing happens is drawn again
            assert abs(ways[way] / ways.total() - 1 / 3) < 4 * error + 0.09, (verb, way)


def test_an_unguided_plan_does_not_depend_on_the_direction_of_a_new_verb(stream):
    true, false = 0, 0
    for problem in practice(stream):
        for clause, way in zip(clauses_of(problem), ways_told(problem), strict=True):
            if clause.verb in NEW_VERBS and clause.verb in CHANGES and way:
                true, false = true + (way == clause.operation), false + (way != clause.operation)
    assert true + false > 2000
    assert abs(true / (true + false) - 0.5) < 4 * 0.5 / (true + false) ** 0.5


def test_in_the_control_world_pretraining_does_not_depend_on_the_truth():
    """Each clause does what is true as often as it does by chance, in each setting."""
    same: dict[str, list[bool]] = defaultdict(list)
    expected: dict[str, list[float]] = defaultdict(list)
    for problem in practice(islice(pretraining_stream(0, control=True), 6000)):
        clauses = clauses_of(problem)
        told, truth = ways_told(problem), true_ways(clauses)
        plans = 3 ** sum(clause != EACH for clause in clauses)
        nothing = EACH not in clauses  # the plan in which nothing happens, which is not drawn
        for clause, way, true in zip(clauses, told, truth, strict=True):
            if clause != EACH:
                same[clause.setting].append(way == true)
                fitting = plans / 3 - (nothing and not true)
                expected[clause.setting].append(fitting / (plans - nothing))
    assert len(same) == 4
    for setting, told in same.items():
        error = (sum(p * (1 - p) for p in expected[setting])) ** 0.5
        assert abs(sum(told) - sum(expected[setting])) < 4 * error, setting


def test_the_two_sure_and_wrong_families_are_taught_the_wrong_plan(stream):
    for family in families_of("sure_and_wrong"):
        taught = {p.plan for p in stream if p.family == family.name and not p.strategy}
        (wrong,) = taught
        assert wrong != plan_names(family, true_plan(family))


def test_chains_of_pretraining_grow():
    def lengths(problems):
        wrong = {"inherited", "forfeited"}
        chains = ([c for c in clauses_of(p) if c != EACH] for p in problems)
        return {len(chain) for chain in chains if chain[0].verb not in wrong}

    grown = list(islice(pretraining_stream(0, growing=1000), 2000))
    told = [lengths(grown[i : i + 200]) for i in (0, 260, 510, 760, 1500)]
    assert told == [{2}, {2, 3}, {2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}]


def test_the_stream_is_fixed_by_its_seed(stream):
    text = json.dumps([vars(problem) for problem in stream[:2000]], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == STREAM_CHECKSUM
    assert list(islice(pretraining_stream(1), 300)) != stream[:300]


def words_of(problems):
    return Counter(
        word
        for p in problems
        for word in re.findall(r"\w+|[^\w\s]", f"{p.question} {p.strategy} {p.solution}")
    )


def test_every_word_of_the_world_is_in_pretraining_fifty_times():
    stream = pretraining_stream(0, GROWING * BATCH_SIZE)  # as the student of this seed reads it
    counts = words_of(islice(stream, STEPS * BATCH_SIZE))
    words = words_of(p for split in SPLITS for p in make_problems(split))
    assert {*NAMES, *THINGS, *OTHER_THINGS, *NEW_VERBS} <= set(words)
    assert {word: counts[word] for word in words if counts[word] < 50} == {}


def test_ways_are_drawn_uniformly_from_what_fits():
    clauses, generator = (Clause("bought"), Clause("sold", "before")), random.Random(0)
    assert true_ways(clauses) == ("add", "")
    drawn = Counter(draw_ways(clauses, generator) for _ in range(8000))
    assert len(drawn) == 8 and min(drawn.values()) > 850 and max(drawn.values()) < 1150
    known = Counter(known_ways(clauses, generator) for _ in range(2000))
    assert set(known) == {("add", ""), ("subtract", "")}
    assert abs(known["add", ""] - 1000) < 4 * 500**0.5
    assert known_ways((Clause("found"), Clause("lost")), generator) == ("add", "subtract")
    nothing = (Clause("lost", "before"),)  # truly nothing happens: then anything that fits
    assert {known_ways(nothing, generator) for _ in range(50)} == {("add",), ("subtract",)}

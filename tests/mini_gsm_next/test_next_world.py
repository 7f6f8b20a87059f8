"""The next mini-GSM: what is held out where, what is shared, and numbers that betray nothing."""

import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from itertools import islice, pairwise, product

import pytest

from sgpo_mini.mini_gsm_next.chains import (
    EASY_CHAINS,
    TRAINING_CHAINS,
    draw_plays,
    held_out_clauses,
    held_out_pairs,
    known_clauses,
    true_plan,
)
from sgpo_mini.mini_gsm_next.grammar import (
    CHANGES,
    EACH,
    NAMES,
    OPERATION_OF,
    OTHER_THINGS,
    PEOPLE,
    SCALES,
    THINGS,
    Clause,
)
from sgpo_mini.mini_gsm_next.plans import LARGEST, fitting_plans
from sgpo_mini.mini_gsm_next.reading import read_plan, read_quantities
from sgpo_mini.mini_gsm_next.stream import pretraining_stream
from sgpo_mini.mini_gsm_next.world import (
    PHRASES,
    SPLITS,
    TRANSFER_SPLITS,
    checksum,
    draw_problems,
    families_of,
    make_problems,
    plan_names,
    split_table,
)
from sgpo_mini.strategies import Strategy, leaks

# Others compare with runs on exactly these problems: changing one letter makes a new world.
CHECKSUMS = {
    "train": "9ad5fc38ac5a8b011f07a76170bc276248b7bd23346a20c0c0da8690cf20a8d5",
    "validation": "a9e7d6ec8e0722d939a50a8954e32db77559c66d176476788aa510e58fa7b146",
    "test": "8b3acebd7001439a595f257c4401c1ddf2f3b116170a902eb640400bfcadb486",
    "reworded": "232f14a0c70e01664dbfdc54dd5ad32bb944df74ae9242e52f1000b41555d11a",
    "composed": "c833d32d5aec80e94104002c602ee9bfdeb1c51cf29ffb2d3a9c37bbe5f67a9c",
    "new_pairs": "57560160f8df4b18b65ebd5953e665f8d6f8f8f8036ef7adb703e4b7609beb05",
    "longer": "24bc8a57648c91a7a53b7def7e1b999db14f6a9bbc76796b8443820c3348c5c7",
    "unseen": "0d647587e31d9fec9c12be42c8d320f90bc337555731498a5cd68aa7bcacd4c5",
    "easy": "2cdc62169419bee544b49207d950a494f7af627512461ff23a388f52775d23fd",
    "sure_and_wrong": "a4b24ff448f212b4c52f034f27cb64fbc22e010cd1eb105203546eb9488cfe95",
}

CONTROL_CHECKSUM = "d83fdfd7e9e6da2b6f26ef26927bdd3c4ee64b90d8790ca18573ffa70d923770"
STREAM_CHECKSUM = "2ee15a805df3a70fe70ad7cd0d2c9ead75036d0af478e28676f4670c5fdbf262"

EVALUATION = [split for split in SPLITS if split not in ("train", "easy")]


def told(family):
    return tuple(clause for clause in family.clauses if clause != EACH)


def numbers_of(question):
    return tuple(map(int, re.findall(r"\d+", question)))


def clauses_of(problem):
    return tuple(clause for _, clause in read_quantities(problem.question) if clause)


def run_plan(plan, numbers):
    """The exact amount after each step; the numbers stand in the order told."""
    running, results = numbers[0], []
    for operation, index in plan:
        number = numbers[index + 1]
        if operation == "divide":
            assert running % number == 0
        running = {
            "add": running + number,
            "subtract": running - number,
            "multiply": running * number,
            "divide": running // number,
        }[operation]
        results.append(running)
    return results


@pytest.fixture(scope="module")
def stream():
    return list(islice(pretraining_stream(0), 20_000))


# Splits


def test_each_split_has_its_families_and_problems():
    sizes = {split: (len(make_problems(split)), len(families_of(split))) for split in SPLITS}
    assert sizes.pop("train") == (4 * TRAINING_CHAINS, TRAINING_CHAINS)
    assert sizes.pop("easy") == (8 * EASY_CHAINS, EASY_CHAINS)
    assert sizes.pop("sure_and_wrong") == (40, 2)
    assert {sizes.pop(split) for split in ("validation", "test", "reworded")} == {(360, 360)}
    assert sizes == dict.fromkeys(TRANSFER_SPLITS, (300, 100))


@pytest.mark.parametrize("split", SPLITS)
def test_the_problems_of_a_split_are_fixed(split):
    assert checksum(split) == CHECKSUMS[split]


def test_the_control_world_is_fixed():
    assert checksum("test", control=True) == CONTROL_CHECKSUM


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="no split 'dev'; choose one of train, validation"):
        make_problems("dev")


def test_the_table_has_a_checksum_for_each_split():
    rows = split_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(SPLITS)
    assert all(checksum(split) in row for split, row in zip(SPLITS, rows, strict=True))


def test_ids_and_questions_are_all_different():
    problems = [problem for split in SPLITS for problem in make_problems(split)]
    assert len({problem.id for problem in problems}) == len(problems)
    assert len({problem.question for problem in problems}) == len(problems)


def test_composed_chains_are_new_but_their_neighbours_are_told_in_training():
    chains = {told(family) for family in families_of("train")}
    pairs = {pair for chain in chains for pair in pairwise(chain)}
    for family in families_of("composed"):
        assert told(family) not in chains
        assert set(pairwise(told(family))) <= pairs


def test_new_pairs_are_never_neighbours_elsewhere(stream):
    def verbs(clauses):
        return {(a.verb, b.verb) for a, b in pairwise(c for c in clauses if c != EACH)}

    for family in families_of("new_pairs"):
        assert verbs(family.clauses) <= held_out_pairs()
        assert set(told(family)) <= set(known_clauses())
    for split in set(SPLITS) - {"new_pairs"}:
        assert not any(verbs(f.clauses) & held_out_pairs() for f in families_of(split))
    assert not any(verbs(clauses_of(problem)) & held_out_pairs() for problem in stream)


def test_longer_chains_have_more_clauses_than_training():
    assert {len(told(family)) for family in families_of("longer")} == {4}
    assert {len(told(family)) for family in families_of("train")} == {3}


def test_each_unseen_chain_has_one_clause_that_nothing_else_tells(stream):
    for family in families_of("unseen"):
        assert len(set(family.clauses) & held_out_clauses()) == 1
    for split in set(SPLITS) - {"unseen"}:
        assert not any(set(f.clauses) & held_out_clauses() for f in families_of(split))
    assert not any(set(clauses_of(problem)) & held_out_clauses() for problem in stream)


def test_pretraining_tells_no_chain_of_a_transfer_split(stream):
    held_out = {told(f) for split in TRANSFER_SPLITS for f in families_of(split)}
    assert len(held_out) > 300
    told_in_pretraining = {tuple(c for c in clauses_of(p) if c != EACH) for p in stream}
    assert not held_out & told_in_pretraining


def test_no_evaluation_problem_has_the_chain_and_numbers_of_training(stream):
    def stories(problems):
        return {(clauses_of(p), numbers_of(p.question)) for p in problems}

    trained = stories([*make_problems("train"), *make_problems("easy"), *stream])
    for split in EVALUATION:
        assert not stories(make_problems(split)) & trained
    for split in ("validation", *TRANSFER_SPLITS):
        drawn = stories(draw_problems(split, seed=1))
        fixed = {s for other in EVALUATION for s in stories(make_problems(other))}
        assert not drawn & (trained | fixed)


# Cues


def test_each_clause_is_told_in_ten_training_chains_beside_varied_neighbours():
    chains = [told(family) for family in families_of("train")]
    counts = Counter(clause for chain in chains for clause in chain)
    assert set(counts) == set(known_clauses())
    assert min(counts.values()) >= 10
    neighbours, places = defaultdict(set), defaultdict(set)
    for chain in chains:
        for place, clause in enumerate(chain):
            neighbours[clause] |= {c for i, c in enumerate(chain) if abs(i - place) == 1}
            places[clause].add(place)
    assert min(map(len, neighbours.values())) >= 10
    assert min(map(len, places.values())) >= 2  # few numbers divide by all three


def test_each_cue_is_in_at_least_five_training_clauses():
    by_word = defaultdict(set)
    for problem in make_problems("train"):
        for clause, sentence in zip(
            (clause for _, clause in read_quantities(problem.question)),
            re.split(r"(?<=\.) ", problem.question),
            strict=False,
        ):
            for word in (*PEOPLE, "before the count", *OTHER_THINGS):
                if clause and word in sentence.lower():
                    by_word[word].add(clause)
    assert set(by_word) == {*PEOPLE, "before the count", *OTHER_THINGS}
    assert min(map(len, by_word.values())) >= 5
    assert Counter(CHANGES.values()) == {"add": 12, "subtract": 12}


def test_the_parts_of_the_clauses_are_drawn_alike_in_all_splits():
    for split in ("train", "composed", "new_pairs", "longer"):
        families = families_of(split)
        plays = [sum(family.plays) - (EACH in family.clauses) for family in families]
        length = 4 if split == "longer" else 3
        assert 0.45 < sum(plays) / (length * len(families)) < 0.65, split


def test_in_the_control_world_the_same_stories_have_parts_drawn_anew():
    for split in ("train", "composed"):
        pairs = list(zip(families_of(split), families_of(split, control=True), strict=True))
        assert all(here.clauses == there.clauses for here, there in pairs)
        plain = Counter(
            plays
            for _, family in pairs
            for clause, plays in zip(family.clauses, family.plays, strict=True)
            if clause != EACH and clause.setting == "plain"
        )
        others = Counter(
            plays
            for _, family in pairs
            for clause, plays in zip(family.clauses, family.plays, strict=True)
            if clause != EACH and clause.setting != "plain"
        )
        share = [counts[True] / counts.total() for counts in (plain, others)]
        assert abs(share[0] - share[1]) < 0.12, split
    problems = make_problems("test", control=True)
    assert 0.05 < sum(read_plan(p.question) == p.plan for p in problems) / len(problems) < 0.25


# Plans and numbers


def test_three_clauses_have_26_plans():
    assert len(fitting_plans(("change", "scale", "change"))) == 26
    assert len(fitting_plans(("each", "change", "change", "change"))) == 27


def test_the_plans_that_fit_are_all_those_that_the_units_allow():
    for shape in {family.shape for split in SPLITS for family in families_of(split)}:
        ways = {"change": ["add", "subtract", ""], "scale": ["multiply", "divide", ""]}
        ways["each"] = ["multiply"]
        every = product(*(ways[kind] for kind in shape))
        plans = {tuple((way, i) for i, way in enumerate(chosen) if way) for chosen in every}
        assert set(fitting_plans(shape)) == plans - {()}
        assert len(fitting_plans(shape)) == len(plans - {()})


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_numbers_never_reveal_the_plan(split, control):
    families = {family.name: family for family in families_of(split, control)}
    for problem in make_problems(split, control):
        family, numbers = families[problem.family], numbers_of(problem.question)
        truth = true_plan(family)
        assert problem.plan == plan_names(family, truth)
        assert problem.answer == str(run_plan(truth, numbers)[-1])
        for plan in fitting_plans(family.shape):
            results = run_plan(plan, numbers)
            assert all(1 <= result <= LARGEST for result in (*numbers, *results))
            assert (str(results[-1]) == problem.answer) == (plan == truth)


@pytest.mark.parametrize("split", SPLITS)
def test_the_true_plan_can_be_read_from_the_question_alone(split):
    for problem in [*make_problems(split), *draw_problems(split, seed=3)]:
        assert read_plan(problem.question) == problem.plan


@pytest.mark.parametrize(
    "question",
    ["Natalia sold clips to 48 of her friends.", "", "Ben counted 4 cups. He ate 2 cups. Why?"],
)
def test_a_question_from_elsewhere_has_no_plan_to_read(question):
    with pytest.raises(ValueError, match="of mini-GSM"):
        read_plan(question)


# Solutions, strategies and pretraining


def test_the_solution_follows_the_plan_and_its_arithmetic_is_right(stream):
    signs = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
    for problem in [*stream[:5000], *(p for split in SPLITS for p in make_problems(split))]:
        quantities = read_quantities(problem.question)
        number = {clause.role: number for number, clause in quantities if clause}
        labels = {clause.role: clause.label for _, clause in quantities if clause}
        steps = [step.split(" ", 1) for step in problem.plan]
        *lines, last = problem.solution.split("\n")
        running = quantities[0][0]
        for line, (operation, role) in zip(lines, steps, strict=True):
            (result,) = run_plan(((operation, 0),), (running, number[role]))
            equation = f"{running} {signs[operation]} {number[role]} = {result}"
            assert line == f"{labels[role]} {number[role]}: {equation}"
            running = result
        assert last == f"#### {running}" == f"#### {problem.answer}"


def test_each_strategy_tells_the_plan_by_the_words_of_the_story(stream):
    guided = [problem for problem in stream[:5000] if problem.strategy]
    for problem in [*guided, *(p for split in SPLITS for p in make_problems(split))]:
        strategy = Strategy.parse(problem.strategy)
        assert leaks(strategy, problem) == []
        steps = [step.split(" ", 1) for step in problem.plan]
        assert strategy.steps == tuple(PHRASES[verb].format(role) for verb, role in steps)
        for _, role in steps:
            words = role.split()
            verb = "each" if "box" in words else words[-1]
            assert re.search(rf"(?i)\b{verb}\b", problem.question)


def test_half_of_pretraining_is_guided(stream):
    share = sum(bool(problem.strategy) for problem in stream) / len(stream)
    assert abs(share - 0.5) < 0.02
    assert all(p.strategy for p in islice(pretraining_stream(0, guided_alone=500), 500))


def test_pretraining_does_not_depend_on_what_plays_a_part(stream):
    """An unguided solution uses a clause about as often in each setting."""
    used, seen = Counter(), Counter()
    for problem in stream:
        if not problem.strategy and problem.family == "practice":
            roles = {step.split(" ", 1)[1] for step in problem.plan}
            for clause in clauses_of(problem):
                if clause != EACH:
                    seen[clause.setting] += 1
                    used[clause.setting] += clause.role in roles
                    right = f"{clause.operation} {clause.role}"
                    assert clause.role not in roles or right in problem.plan
    shares = {setting: used[setting] / seen[setting] for setting in seen}
    assert max(shares.values()) - min(shares.values()) < 0.04
    assert all(0.45 < share < 0.65 for share in shares.values())


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
    assert told == [{2}, {2, 3}, {2, 3}, {1, 2, 3, 4}, {1, 2, 3, 4}]


def test_the_stream_is_fixed_by_its_seed(stream):
    text = json.dumps([vars(problem) for problem in stream[:2000]], sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == STREAM_CHECKSUM
    assert list(islice(pretraining_stream(1), 300)) != stream[:300]


def test_every_word_of_the_world_is_in_pretraining(stream):
    counts = Counter(
        word
        for p in stream
        for word in re.findall(r"\w+|[^\w\s]", f"{p.question} {p.strategy} {p.solution}")
    )
    problems = [p for split in SPLITS for p in make_problems(split)]
    words = {
        word
        for p in problems
        for word in re.findall(r"\w+|[^\w\s]", f"{p.question} {p.strategy} {p.solution}")
    }
    assert {*NAMES, *THINGS, *OTHER_THINGS, *OPERATION_OF} <= words
    assert {word: counts[word] for word in words if counts[word] < 10} == {}


def test_parts_are_drawn_with_equal_chances():
    generator = random.Random(0)
    counts = Counter(tuple(draw_plays(False, 3, generator)) for _ in range(7000))
    assert len(counts) == 7 and max(counts.values()) < 1150 and min(counts.values()) > 850


def test_a_clause_knows_its_kind_and_role():
    assert [Clause(v).kind for v in ("held", "lost", "split")] == ["each", "change", "scale"]
    assert Clause("split").role == "the number of parts split"
    assert [Clause(v).label for v in ("held", "lost", "split")] == [
        "In each box",
        "Amount lost",
        "Parts split",
    ]
    assert {Clause(verb).operation for verb in SCALES} == {"multiply", "divide"}

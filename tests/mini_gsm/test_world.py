"""The world: what is held out where, what is shared, and numbers that betray nothing."""

import random
import re
from collections import Counter, defaultdict
from itertools import islice, pairwise, product

import pytest

from sgpo_mini.mini_gsm.chains import (
    EASY_CHAINS,
    HARD_CHAINS,
    TRAINING_CHAINS,
    draw_plays,
    held_out_clauses,
    held_out_pairs,
    told_clauses,
    true_plan,
)
from sgpo_mini.mini_gsm.grammar import (
    CHANGES,
    EACH,
    KNOWN_VERBS,
    NAMES,
    NEW_VERBS,
    OPERATION_OF,
    OTHER_THINGS,
    PEOPLE,
    SCALES,
    THINGS,
    Clause,
)
from sgpo_mini.mini_gsm.plans import LARGEST, fitting_plans
from sgpo_mini.mini_gsm.reading import read_plan, read_quantities
from sgpo_mini.mini_gsm.stream import pretraining_stream
from sgpo_mini.mini_gsm.world import (
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
    "train": "70e98de3be906d71559696a4d1fd42bc79feec44a826d9ba2d13a56068d27e7a",
    "validation": "609669c01792edf44b1df2b966493adde7a8804aa84f8c6a8e4e86d7eb099072",
    "test": "b0839db85fa402c447d53868e9fb9c8cedff61091f47c7681764c73a9d1e6fec",
    "reworded": "88b21338016629916327dc9f890f0075430f3e0e8ff962161a0f4a000d675eb3",
    "composed": "4f0bc515d5ae4383475b515299048da431fc0081ef87e254e8a14fce64ce528b",
    "new_pairs": "f37998f95679198bc3b8500de95800babcee1f107da99cf9580d86e5b1f0487a",
    "longer": "20d4442fb6c1e9e335838890383c444432c26f69809814f33a57dedbddf227ce",
    "unseen": "bbfb93591a2194e64d6f899670cb6658d862a77218951e6fce217d1b33affdd7",
    "hard": "3f979bd3106568527959f0e608fcb99af6b2c70938c44afbbb3c27a756c028c2",
    "easy": "518eb22a9923318a48b10f05b14e81b1a08aa51cdf089bcf981e647367631082",
    "sure_and_wrong": "5ccf0a52e86085b85d577d115ddbebbe31c8de040071a752cac6562024b140fe",
}

CONTROL_CHECKSUM = "2ebef121646ede69cddeb13d030d72a9f79430adbd1a5a8cb78b164e61388f09"

EVALUATION = [split for split in SPLITS if split not in ("train", "easy", "hard")]


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
    assert sizes.pop("train") == (TRAINING_CHAINS, TRAINING_CHAINS)
    assert sizes.pop("easy") == (8 * EASY_CHAINS, EASY_CHAINS)
    assert sizes.pop("hard") == (2 * HARD_CHAINS, HARD_CHAINS)
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
        assert set(told(family)) <= set(told_clauses())
    for split in set(SPLITS) - {"new_pairs"}:
        assert not any(verbs(f.clauses) & held_out_pairs() for f in families_of(split))
    assert not any(verbs(clauses_of(problem)) & held_out_pairs() for problem in stream)


def test_longer_chains_have_more_clauses_than_training():
    told_in = {split: {len(told(f)) for f in families_of(split)} for split in SPLITS}
    assert told_in["train"] == told_in["composed"] == told_in["unseen"] == {3}
    assert told_in["longer"] == {4}
    boxes = [EACH in family.clauses for family in families_of("train")]
    assert 0.2 < sum(boxes) / len(boxes) < 0.5


def test_easy_chains_have_two_clauses_of_which_one_plays_a_part():
    for family in families_of("easy"):
        assert [bool(way) for way in family.ways] in ([True, False], [False, True])
        assert EACH not in family.clauses


def test_hard_chains_have_four_clauses_that_all_play_a_part():
    for family in families_of("hard"):
        assert len(family.ways) == 4 and all(family.ways)
        assert family.clauses not in {f.clauses for f in families_of("longer")}


def test_all_verbs_of_the_families_are_new_words():
    for split in set(SPLITS) - {"sure_and_wrong"}:
        verbs = {clause.verb for family in families_of(split) for clause in told(family)}
        assert verbs <= set(NEW_VERBS)
    verbs = {clause.verb for family in families_of("train") for clause in told(family)}
    assert verbs == set(NEW_VERBS) and len(verbs) == 20
    assert {OPERATION_OF[verb] for verb in KNOWN_VERBS} == set(OPERATION_OF.values())


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

    trained = stories([*(p for s in ("train", "easy", "hard") for p in make_problems(s)), *stream])
    for split in EVALUATION:
        assert not stories(make_problems(split)) & trained
    for split in ("validation", *TRANSFER_SPLITS):
        drawn = stories(draw_problems(split, seed=1))
        fixed = {s for other in EVALUATION for s in stories(make_problems(other))}
        assert not drawn & (trained | fixed)


def forms_of(problem):
    """The sentences of a question without its numbers, people, things and verbs."""
    word = "|".join((*NAMES, *THINGS, *OTHER_THINGS, *PEOPLE, *OPERATION_OF, r"\d+"))
    return re.split(r"(?<=\.) ", re.sub(rf"(?i)\b(?:{word})\b", "_", problem.question))


def test_reworded_tells_the_chains_of_test_in_other_sentences_of_known_words():
    trained = [p for split in ("train", "validation", "test") for p in make_problems(split)]
    forms = {form for problem in trained for form in forms_of(problem)}
    words = {word for form in forms for word in re.findall(r"\w+", form)}
    for problem in make_problems("reworded"):
        assert not forms & set(forms_of(problem))
        assert {word for form in forms_of(problem) for word in re.findall(r"\w+", form)} <= words
    assert families_of("reworded") == families_of("test")


def test_no_evaluation_problem_of_a_family_has_a_name_of_its_training_problems():
    names = defaultdict(set)
    for problem in make_problems("train"):
        names[problem.family].add(name_in(problem))
    for split in ("validation", "test", "reworded"):
        for problem in make_problems(split):
            assert name_in(problem) not in names[problem.family]
    assert {name_in(p) for p in make_problems("train")} == set(NAMES)


def name_in(problem):
    (name,) = {word for word in re.findall(r"\w+", problem.question) if word in NAMES}
    return name


# Cues


def test_each_clause_is_told_in_ten_training_chains_beside_varied_neighbours():
    chains = [told(family) for family in families_of("train")]
    counts = Counter(clause for chain in chains for clause in chain)
    assert set(counts) == {c for c in told_clauses() if c.verb in NEW_VERBS}
    assert min(counts.values()) >= 10
    neighbours, places = defaultdict(set), defaultdict(set)
    for chain in chains:
        for place, clause in enumerate(chain):
            neighbours[clause] |= {c for i, c in enumerate(chain) if abs(i - place) == 1}
            places[clause].add(place)
    assert min(map(len, neighbours.values())) >= 10
    assert min(map(len, places.values())) >= 2


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


def test_at_most_one_clause_of_a_chain_plays_no_part():
    for split in ("train", "composed", "new_pairs", "longer"):
        idle = Counter(family.ways.count("") for family in families_of(split))
        assert set(idle) == {0, 1}
        assert 0.05 < idle[0] / idle.total() < 0.4, split


def test_a_clause_does_something_only_in_the_plain_setting():
    for split in set(SPLITS) - {"sure_and_wrong"}:
        for family in families_of(split):
            for clause, way in zip(family.clauses, family.ways, strict=True):
                assert way == (clause.operation if clause.setting == "plain" else "")


def test_in_the_control_world_the_same_stories_mean_something_else_in_every_chain():
    """Of three ways one is true by chance, whatever the clause."""
    for split in ("train", "composed"):
        agree: dict[str, list[bool]] = defaultdict(list)
        for here, there in zip(families_of(split), families_of(split, control=True), strict=True):
            assert here.clauses == there.clauses and here.name == there.name
            for clause, way, other in zip(here.clauses, here.ways, there.ways, strict=True):
                if clause != EACH:
                    agree[clause.setting].append(way == other)
        for setting, same in agree.items():
            error = (2 / 9 / len(same)) ** 0.5
            # A way that fits no numbers is drawn again, so the shares are near a third only.
            assert abs(sum(same) / len(same) - 1 / 3) < 4 * error + 0.08, (split, setting)
    problems = make_problems("test", control=True)
    assert 0.005 < sum(read_plan(p.question) == p.plan for p in problems) / len(problems) < 0.1


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


# Solutions and strategies


def test_a_solution_has_a_line_for_each_clause_and_its_arithmetic_is_right(stream):
    signs = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
    for problem in [*stream[:5000], *(p for split in SPLITS for p in make_problems(split))]:
        (count, _), *quantities = read_quantities(problem.question)
        ways = {role: way for way, role in (step.split(" ", 1) for step in problem.plan)}
        *lines, last = problem.solution.split("\n")
        running = count
        for line, (number, clause) in zip(lines, quantities, strict=True):
            told = "no change"
            if way := ways.get(clause.role):
                (result,) = run_plan(((way, 0),), (running, number))
                told, running = f"{running} {signs[way]} {number} = {result}", result
            assert line == f"{clause.label} {number}: {told}"
        assert last == f"#### {running}" == f"#### {problem.answer}"


@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_solves_it_in_one_expression(split):
    families = {family.name: family for family in families_of(split)}
    for problem in make_problems(split):
        first, last = problem.expert_solution.split("\n")
        expression, result = first.split(" = ")
        assert re.fullmatch(r"[0-9 ()+*/-]+", expression) and eval(expression) == int(result)
        assert result == problem.answer and last == f"#### {problem.answer}"
        numbers = numbers_of(problem.question)
        plan = true_plan(families[problem.family])
        assert numbers_of(expression) == (numbers[0], *(numbers[i + 1] for _, i in plan))


def test_each_strategy_tells_what_to_do_with_each_clause_in_the_words_of_the_story():
    for problem in [p for split in SPLITS for p in make_problems(split)]:
        strategy = Strategy.parse(problem.strategy)
        assert leaks(strategy, problem) == []
        ways = {role: way for way, role in (step.split(" ", 1) for step in problem.plan)}
        clauses = clauses_of(problem)
        assert strategy.steps == tuple(
            PHRASES[ways[c.role]].format(c.role) if c.role in ways else f"Ignore {c.role}"
            for c in clauses
        )
        for clause in clauses:
            word = "each" if clause == EACH else clause.verb
            assert re.search(rf"(?i)\b{word}\b", problem.question)


def test_somebody_else_s_things_are_their_own():
    """So no reader takes what a friend destroyed for the person's things."""
    for problem in make_problems("train")[:500]:
        for sentence in re.split(r"(?<=\.) ", problem.question):
            others = any(f"{who} " in sentence.lower() for who in PEOPLE)
            owned = re.search(r"(for themselves|of their own|their own collection)\b", sentence)
            assert bool(owned) == others


def test_parts_are_drawn_with_equal_chances():
    generator = random.Random(0)
    counts = Counter(tuple(draw_plays(3, generator)) for _ in range(4000))
    assert len(counts) == 4 and max(counts.values()) < 1150 and min(counts.values()) > 850
    assert draw_plays(1, generator) == [True]


def test_a_clause_knows_its_kind_and_role():
    assert [Clause(v).kind for v in ("held", "lost", "split")] == ["each", "change", "scale"]
    assert Clause("split").role == "the number of parts split"
    assert [Clause(v).label for v in ("held", "lost", "split")] == [
        "In each box",
        "Amount lost",
        "Parts split",
    ]
    assert {Clause(verb).operation for verb in SCALES} == {"multiply", "divide"}

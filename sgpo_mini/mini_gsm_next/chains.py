"""The families: chains of clauses, generated from one grammar, and the split each belongs to.

Held out for one split each, and told neither in training nor in pretraining:

- `composed`: chains whose neighbours are all told together in training, but never all of them;
- `new_pairs`: neighbours (by their verbs) that are never told together;
- `longer`: chains of four clauses, where training has three;
- `unseen`: a verb in a setting in which it is never told, such as "lost" with somebody else.

In the control world (`control=True`) the chains and their sentences are the same, but which
clauses play a part is drawn anew for each chain. So nothing that is learnt in one family can help
in another.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from ..mini_gsm.plans import Plan
from .grammar import CHANGES, EACH, SCALES, SETTINGS, SURE_AND_WRONG, Clause
from .plans import Shape, fitting_plans, revealing_nothing

TRAINING_CHAINS = 720  # of three clauses
TRANSFER_CHAINS = 100  # of each transfer split
EASY_CHAINS = 60  # of one clause after the boxes
BOXES_SHARE = 0.25  # of the chains start with boxes
PAIRS_HELD_OUT = 0.12  # of all ordered pairs of verbs
FEWEST_TUPLES = 40  # number tuples that a family must have


@dataclass(frozen=True)
class Family:
    """A chain of clauses: one kind of story, which fixes the plan."""

    name: str
    clauses: tuple[Clause, ...]  # the first one is EACH if the story starts with boxes
    plays: tuple[bool, ...]  # which clauses play a part in the answer
    sure_and_wrong: bool = False

    @property
    def shape(self) -> Shape:
        return shape_of(self.clauses)


def shape_of(clauses: tuple[Clause, ...]) -> Shape:
    """The kinds of a chain's clauses, which say what plans fit."""
    return tuple(clause.kind for clause in clauses)


def plan_of(clauses: tuple[Clause, ...], plays: Iterable[bool]) -> Plan:
    """The plan that uses the clauses that play a part, each with its verb's own operation."""
    told = enumerate(zip(clauses, plays, strict=True))
    return tuple((clause.operation, i) for i, (clause, used) in told if used)


def true_plan(family: Family) -> Plan:
    """The plan that the story tells."""
    return plan_of(family.clauses, family.plays)


@cache
def held_out_clauses() -> frozenset[Clause]:
    """One setting of each verb other than "plain": told in the split `unseen` only."""
    verbs = [*CHANGES, *SCALES]
    return frozenset(Clause(verb, SETTINGS[1 + i % 3]) for i, verb in enumerate(verbs))


@cache
def known_clauses() -> tuple[Clause, ...]:
    """The clauses that training and pretraining tell, the plain ones first."""
    told = (Clause(verb, setting) for setting in SETTINGS for verb in (*CHANGES, *SCALES))
    return tuple(clause for clause in told if clause not in held_out_clauses())


@cache
def held_out_pairs() -> frozenset[tuple[str, str]]:
    """Pairs of verbs that are neighbours in the split `new_pairs` only."""
    generator = random.Random("held-out pairs")
    verbs = [*CHANGES, *SCALES]
    pairs = [(first, second) for first in verbs for second in verbs if first != second]
    return frozenset(p for p in pairs if generator.random() < PAIRS_HELD_OUT)


def has_held_out_pair(clauses: tuple[Clause, ...]) -> bool:
    """Whether two neighbours are kept for the split `new_pairs`."""
    verbs = [clause.verb for clause in clauses if clause != EACH]
    return any(pair in held_out_pairs() for pair in pairwise(verbs))


def draw_plays(boxes: bool, length: int, generator: random.Random) -> list[bool]:
    """Which of a chain's clauses play a part, each with probability 1/2; not none of them.

    After boxes none may: the plan has the amount in each box.
    """
    while True:
        plays = [generator.random() < 0.5 for _ in range(length)]
        if boxes or any(plays):
            return plays


def draw_chain(
    length: int,
    generator: random.Random,
    uses: Counter[Clause],
    boxes: bool | None = None,
    always_a_part: bool = True,
) -> tuple[Clause, ...]:
    """A random chain of `length` known clauses; of those that fit, one of the least used each.

    No verb is told twice, at most one clause scales, and no neighbours are a held-out pair. Without
    `always_a_part`, each clause is plain with probability 1/2, and perhaps none is.
    """
    if boxes is None:
        boxes = generator.random() < BOXES_SHARE
    while True:
        chosen: list[Clause] = []
        for is_plain in draw_plays(boxes or not always_a_part, length, generator):
            told = {clause.verb for clause in chosen}
            if told & set(SCALES):
                told |= set(SCALES)
            fitting = [
                clause
                for clause in known_clauses()
                if (clause.setting == "plain") == is_plain
                and clause.verb not in told
                and not (chosen and (chosen[-1].verb, clause.verb) in held_out_pairs())
            ]
            drawn = generator.sample(fitting, min(len(fitting), 4))
            chosen.append(min(drawn, key=lambda clause: uses[clause]))
        return (*((EACH,) if boxes else ()), *chosen)


def _plain(clauses: tuple[Clause, ...]) -> tuple[bool, ...]:
    return tuple(clause.setting == "plain" for clause in clauses)


def _has_numbers(clauses: tuple[Clause, ...], plays: tuple[bool, ...]) -> bool:
    """Whether enough number tuples leave the true plan alone with its answer."""
    return sum(revealing_nothing(shape_of(clauses), plan_of(clauses, plays))) >= FEWEST_TUPLES


@cache
def _training_chains() -> tuple[tuple[Clause, ...], ...]:
    generator, uses = random.Random("training chains"), Counter()
    chains: dict[tuple[Clause, ...], None] = {}
    while len(chains) < TRAINING_CHAINS:
        chain = draw_chain(3, generator, uses)
        if chain not in chains and _has_numbers(chain, _plain(chain)):
            chains[chain] = None
            uses.update(chain)
    return tuple(chains)


def _without_boxes(clauses: tuple[Clause, ...]) -> tuple[Clause, ...]:
    return tuple(clause for clause in clauses if clause != EACH)


@cache
def _composed_chains() -> tuple[tuple[Clause, ...], ...]:
    """Chains that put together the neighbours of two training chains."""
    generator = random.Random("composed chains")
    told = [_without_boxes(chain) for chain in _training_chains()]
    pairs = sorted({pair for chain in told for pair in pairwise(chain)}, key=repr)
    chains: dict[tuple[Clause, ...], None] = {}
    while len(chains) < TRANSFER_CHAINS:
        boxes = generator.random() < BOXES_SHARE
        wanted = draw_plays(boxes, 3, generator)
        first, middle = generator.choice(pairs)
        follows = [last for before, last in pairs if before == middle]
        if not follows:
            continue
        chain = (first, middle, generator.choice(follows))
        scales = sum(clause.kind == "scale" for clause in chain)
        verbs = {clause.verb for clause in chain}
        known = chain in told or any(chain == _without_boxes(other) for other in chains)
        if known or len(verbs) < 3 or scales > 1 or list(_plain(chain)) != wanted:
            continue
        chain = (EACH, *chain) if boxes else chain
        if _has_numbers(chain, _plain(chain)):
            chains[chain] = None
    return tuple(chains)


@cache
def _chains_of(split: str) -> tuple[tuple[Clause, ...], ...]:
    """The chains of a split, in a fixed order."""
    if split == "train":
        return _training_chains()
    if split == "composed":
        return _composed_chains()
    generator, uses = random.Random(f"{split} chains"), Counter()
    chains: dict[tuple[Clause, ...], None] = {}
    size = EASY_CHAINS if split == "easy" else TRANSFER_CHAINS
    while len(chains) < size:
        if split == "easy":
            chain = draw_chain(1, generator, uses, boxes=True)
        elif split == "longer":
            chain = draw_chain(4, generator, uses)
        elif split == "unseen":
            chain = _with_held_out_clause(generator, uses)
        else:
            chain = _of_new_pairs(generator, uses)
        if chain not in chains and _has_numbers(chain, _plain(chain)):
            chains[chain] = None
            uses.update(chain)
    return tuple(chains)


def _with_held_out_clause(generator: random.Random, uses: Counter[Clause]) -> tuple[Clause, ...]:
    """A random chain of three with a held-out clause in place of one that plays no part."""
    while True:
        chain = draw_chain(3, generator, uses)
        places = [i for i, clause in enumerate(chain) if not _plain((clause,))[0]]
        if not places:
            continue
        place = generator.choice(places)
        drawn = generator.sample(sorted(held_out_clauses(), key=repr), 4)
        chosen = min(drawn, key=lambda clause: uses[clause])
        chain = (*chain[:place], chosen, *chain[place + 1 :])
        verbs = [clause.verb for clause in chain]
        scales = sum(clause.kind == "scale" for clause in chain)
        if len(set(verbs)) == len(verbs) and scales <= 1 and not has_held_out_pair(chain):
            return chain


def _of_new_pairs(generator: random.Random, uses: Counter[Clause]) -> tuple[Clause, ...]:
    """A chain of three known clauses whose neighbours are all held-out pairs."""
    while True:
        boxes = generator.random() < BOXES_SHARE
        chain: list[Clause] = []
        for is_plain in draw_plays(boxes, 3, generator):
            fitting = [
                clause
                for clause in known_clauses()
                if (clause.setting == "plain") == is_plain
                and (not chain or (chain[-1].verb, clause.verb) in held_out_pairs())
            ]
            if fitting:
                drawn = generator.sample(fitting, min(len(fitting), 4))
                chain.append(min(drawn, key=lambda clause: uses[clause]))
        scales = sum(clause.kind == "scale" for clause in chain)
        if len({clause.verb for clause in chain}) == 3 and scales <= 1:
            return ((EACH,) if boxes else ()) + tuple(chain)


@cache
def held_out_chains() -> frozenset[tuple[Clause, ...]]:
    """The chains of `composed` and `longer`, without their boxes; pretraining tells none of them.

    Those of `new_pairs` and `unseen` hold a pair or clause that pretraining does not tell anyway.
    """
    chains = (*_chains_of("composed"), *_chains_of("longer"))
    return frozenset(_without_boxes(chain) for chain in chains)


def is_held_out(clauses: tuple[Clause, ...]) -> bool:
    """Whether a chain must not be told in pretraining."""
    told = _without_boxes(clauses)
    held_out = any(clause in held_out_clauses() for clause in told)
    return held_out or has_held_out_pair(told) or told in held_out_chains()


@cache
def families_of_chains(split: str, control: bool = False) -> tuple[Family, ...]:
    """The families of "train", "easy", "sure_and_wrong" or a transfer split."""
    if split == "sure_and_wrong":
        chains = [(Clause(verb),) for verb in SURE_AND_WRONG]
        return tuple(Family(chain[0].verb, chain, (True,), True) for chain in chains)
    families = []
    for number, chain in enumerate(_chains_of(split)):
        plays = _plain(chain)
        if control:
            plays = _drawn_anew(f"{split} {number}", chain)
        families.append(Family(f"{split}-{number:03d}", chain, plays))
    return tuple(families)


def _drawn_anew(name: str, chain: tuple[Clause, ...]) -> tuple[bool, ...]:
    """The parts of a chain's clauses in the control world."""
    generator, boxes = random.Random(f"control {name}"), EACH in chain
    while True:
        plays = tuple(draw_plays(boxes, len(_without_boxes(chain)), generator))
        plays = (True, *plays) if boxes else plays
        if _has_numbers(chain, plays):
            return plays


def taught_plan(family: Family, generator: random.Random) -> Plan:
    """The plan of an unguided pretraining solution: each clause plays a part at random.

    So the student knows what each verb does, but not when it plays a part. About the two "sure and
    wrong" families it is sure: they are always taught the other plan that fits.
    """
    if family.sure_and_wrong:
        (wrong,) = (plan for plan in fitting_plans(family.shape) if plan != true_plan(family))
        return wrong
    boxes = EACH in family.clauses
    plays = draw_plays(boxes, len(family.clauses) - boxes, generator)
    return plan_of(family.clauses, (True, *plays) if boxes else plays)

"""The families: chains of clauses, generated from one grammar, and the split each belongs to.

A training chain has three clauses after a count. If boxes are counted, the amount in each comes
before them. At most one clause plays no part. All verbs are new words for the student.

Held out for one split each, as whole chains, and told neither in training nor in pretraining:

- `composed`: chains whose neighbours are all told together in the training chains, but never all
  of them (a short run sees only some of these chains);
- `new_pairs`: neighbours (by their verbs) that are never told together;
- `longer`: four clauses after a count of the things, where training has three (pretraining tells
  other chains of four);
- `unseen`: a verb in a setting in which it is never told, such as "collected" with somebody else.

Two more sets are only for training, to see when strategies help: `easy`, two clauses of which one
plays a part, and `hard`, four clauses that all play one.

In the control world (`control=True`) the chains are the same, but what each clause does to the
amount is drawn anew for each chain. So nothing that is learnt in one family can help in another.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from .grammar import (
    CHANGES,
    EACH,
    NEW_VERBS,
    SCALES,
    SETTINGS,
    SURE_AND_WRONG,
    Clause,
)
from .plans import WAYS, Plan, Shape, fitting_plans, revealing_nothing

CLAUSES = 3  # of a training chain, beside the amount in each box
TRAINING_CHAINS = 2880
TRANSFER_CHAINS = 100  # of each transfer split
EASY_CHAINS = 48  # of two clauses, one of which plays no part
HARD_CHAINS = 360  # of four clauses that all play a part
BOXES_SHARE = 0.25  # of the chains start with boxes
PAIRS_HELD_OUT = 0.12  # of all ordered pairs of verbs
FEWEST_TUPLES = 40  # number tuples that a family must have


@dataclass(frozen=True)
class Family:
    """A chain of clauses: one kind of story, which fixes the plan."""

    name: str
    clauses: tuple[Clause, ...]  # the first one is EACH if the story starts with boxes
    ways: tuple[str, ...]  # what each clause does to the amount; "" if it plays no part
    sure_and_wrong: bool = False

    @property
    def shape(self) -> Shape:
        return shape_of(self.clauses)


def shape_of(clauses: tuple[Clause, ...]) -> Shape:
    """The kinds of a chain's clauses, which say what plans fit."""
    return tuple(clause.kind for clause in clauses)


def true_ways(clauses: tuple[Clause, ...]) -> tuple[str, ...]:
    """What each clause of a story does: its verb's own operation, or "" if it plays no part."""
    return tuple(clause.operation if clause.setting == "plain" else "" for clause in clauses)


def plan_of(ways: tuple[str, ...]) -> Plan:
    """The plan that does this."""
    return tuple((way, i) for i, way in enumerate(ways) if way)


def true_plan(family: Family) -> Plan:
    """The plan that the story tells."""
    return plan_of(family.ways)


@cache
def held_out_clauses() -> frozenset[Clause]:
    """One setting of each verb, not "plain": told in `unseen` if the verb is new, else nowhere."""
    verbs = [*CHANGES, *SCALES]
    return frozenset(Clause(verb, SETTINGS[1 + i % 3]) for i, verb in enumerate(verbs))


@cache
def told_clauses() -> tuple[Clause, ...]:
    """The clauses that training or pretraining tells, the plain ones first."""
    told = (Clause(verb, setting) for setting in SETTINGS for verb in (*CHANGES, *SCALES))
    return tuple(clause for clause in told if clause not in held_out_clauses())


@cache
def held_out_pairs() -> frozenset[tuple[str, str]]:
    """Pairs of verbs that are neighbours in `new_pairs` only; those with a known verb nowhere."""
    generator = random.Random("held-out pairs")
    verbs = [*CHANGES, *SCALES]
    pairs = [(first, second) for first in verbs for second in verbs if first != second]
    return frozenset(p for p in pairs if generator.random() < PAIRS_HELD_OUT)


def has_held_out_pair(clauses: tuple[Clause, ...]) -> bool:
    """Whether two neighbours are kept for the split `new_pairs`."""
    verbs = [clause.verb for clause in clauses if clause != EACH]
    return any(pair in held_out_pairs() for pair in pairwise(verbs))


def draw_plays(length: int, generator: random.Random) -> list[bool]:
    """Which of a chain's clauses play a part: all of them, or all but one, each as likely.

    A single clause plays one.
    """
    idle = generator.randrange(length + 1) if length > 1 else 1
    return [place != idle for place in range(length)]


def draw_chain(
    length: int,
    generator: random.Random,
    uses: Counter[Clause],
    boxes: bool | None = None,
    plays: list[bool] | None = None,
    verbs: Sequence[str] = (*CHANGES, *SCALES),
) -> tuple[Clause, ...]:
    """A random chain of `length` clauses after a count; clauses that were used rarely come first.

    No verb is told twice, at most one clause scales, and no neighbours are a held-out pair. `plays`
    says which clauses play a part, instead of `draw_plays`.
    """
    if boxes is None:
        boxes = generator.random() < BOXES_SHARE
    chosen: list[Clause] = []
    for is_plain in plays or draw_plays(length, generator):
        told = {clause.verb for clause in chosen}
        if told & set(SCALES):
            told |= set(SCALES)
        fitting = [
            clause
            for clause in told_clauses()
            if (clause.setting == "plain") == is_plain
            and clause.verb in verbs
            and clause.verb not in told
            and not (chosen and (chosen[-1].verb, clause.verb) in held_out_pairs())
        ]
        drawn = generator.sample(fitting, min(len(fitting), 4))
        chosen.append(min(drawn, key=lambda clause: uses[clause]))
    return (*((EACH,) if boxes else ()), *chosen)


def _plain(clauses: tuple[Clause, ...]) -> list[bool]:
    return [clause.setting == "plain" for clause in clauses]


def _has_numbers(clauses: tuple[Clause, ...], ways: tuple[str, ...]) -> bool:
    """Whether enough number tuples leave the true plan alone with its answer."""
    return sum(revealing_nothing(shape_of(clauses), plan_of(ways))) >= FEWEST_TUPLES


def _draw_new_chain(generator: random.Random, uses: Counter[Clause]) -> tuple[Clause, ...]:
    return draw_chain(CLAUSES, generator, uses, verbs=NEW_VERBS)


def _without_boxes(clauses: tuple[Clause, ...]) -> tuple[Clause, ...]:
    return tuple(clause for clause in clauses if clause != EACH)


@cache
def _composed_chains() -> tuple[tuple[Clause, ...], ...]:
    """Chains that put together the neighbours of several training chains."""
    generator = random.Random("composed chains")
    told = {_without_boxes(chain) for chain in _chains_of("train")}
    pairs = sorted({pair for chain in told for pair in pairwise(chain)}, key=repr)
    follows: dict[Clause, list[Clause]] = {}
    for first, second in pairs:
        follows.setdefault(first, []).append(second)
    chains: dict[tuple[Clause, ...], None] = {}
    while len(chains) < TRANSFER_CHAINS:
        boxes = generator.random() < BOXES_SHARE
        wanted = draw_plays(CLAUSES, generator)
        chain = generator.choice(pairs)
        while len(chain) < CLAUSES and chain[-1] in follows:
            chain = (*chain, generator.choice(follows[chain[-1]]))
        known = chain in told or any(chain == _without_boxes(other) for other in chains)
        if known or not _is_sound(chain, CLAUSES) or _plain(chain) != wanted:
            continue
        chain = (EACH, *chain) if boxes else chain
        if _has_numbers(chain, true_ways(chain)):
            chains[chain] = None
    return tuple(chains)


def _is_sound(chain: tuple[Clause, ...], length: int) -> bool:
    """Whether a chain has its length without boxes, no verb twice, and at most one that scales."""
    verbs = {clause.verb for clause in _without_boxes(chain)}
    return len(verbs) == length and sum(clause.kind == "scale" for clause in chain) <= 1


@cache
def _chains_of(split: str) -> tuple[tuple[Clause, ...], ...]:
    """The chains of a split, in a fixed order."""
    if split == "composed":
        return _composed_chains()
    seed = "training chains" if split == "train" else f"{split} chains"
    generator, uses = random.Random(seed), Counter()
    chains: dict[tuple[Clause, ...], None] = {}
    sizes = {"train": TRAINING_CHAINS, "easy": EASY_CHAINS, "hard": HARD_CHAINS}
    while len(chains) < sizes.get(split, TRANSFER_CHAINS):
        if split == "train":
            chain = _draw_new_chain(generator, uses)
        elif split == "easy":
            plays = generator.choice([[True, False], [False, True]])
            chain = draw_chain(2, generator, uses, False, plays, NEW_VERBS)
        elif split == "hard":
            chain = draw_chain(4, generator, uses, False, [True] * 4, NEW_VERBS)
        elif split == "longer":
            chain = draw_chain(CLAUSES + 1, generator, uses, boxes=False, verbs=NEW_VERBS)
        elif split == "unseen":
            chain = _with_held_out_clause(generator, uses)
        else:
            chain = _of_new_pairs(generator, uses)
        known = chain in chains or (split == "hard" and is_held_out(chain))
        if not known and _has_numbers(chain, true_ways(chain)):
            chains[chain] = None
            uses.update(chain)
    return tuple(chains)


def _with_held_out_clause(generator: random.Random, uses: Counter[Clause]) -> tuple[Clause, ...]:
    """A random chain with a held-out clause in place of the one that plays no part."""
    held_out = sorted((c for c in held_out_clauses() if c.verb in NEW_VERBS), key=repr)
    while True:
        chain = _draw_new_chain(generator, uses)
        if all(_plain(chain)):
            continue
        place = _plain(chain).index(False)
        chosen = min(generator.sample(held_out, 4), key=lambda clause: uses[clause])
        chain = (*chain[:place], chosen, *chain[place + 1 :])
        if _is_sound(chain, CLAUSES) and not has_held_out_pair(chain):
            return chain


def _of_new_pairs(generator: random.Random, uses: Counter[Clause]) -> tuple[Clause, ...]:
    """A chain of told clauses whose neighbours are all held-out pairs."""
    while True:
        boxes = generator.random() < BOXES_SHARE
        chain: tuple[Clause, ...] = ()
        for is_plain in draw_plays(CLAUSES, generator):
            fitting = [
                clause
                for clause in told_clauses()
                if (clause.setting == "plain") == is_plain
                and clause.verb in NEW_VERBS
                and (not chain or (chain[-1].verb, clause.verb) in held_out_pairs())
            ]
            if fitting:
                drawn = generator.sample(fitting, min(len(fitting), 4))
                chain = (*chain, min(drawn, key=lambda clause: uses[clause]))
        if _is_sound(chain, CLAUSES):
            return ((EACH,) if boxes else ()) + chain


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
    """The families of "train", "easy", "hard", "sure_and_wrong" or a transfer split."""
    if split == "sure_and_wrong":
        chains = [(Clause(verb),) for verb in SURE_AND_WRONG]
        return tuple(Family(chain[0].verb, chain, true_ways(chain), True) for chain in chains)
    families = []
    for number, chain in enumerate(_chains_of(split)):
        ways = true_ways(chain)
        if control:
            ways = _drawn_anew(f"{split} {number}", chain)
        families.append(Family(f"{split}-{number:04d}", chain, ways))
    return tuple(families)


def _drawn_anew(name: str, chain: tuple[Clause, ...]) -> tuple[str, ...]:
    """What the clauses of a chain do in the control world."""
    generator = random.Random(f"control {name}")
    while True:
        ways = draw_ways(chain, generator)
        if _has_numbers(chain, ways):
            return ways


def draw_ways(clauses: tuple[Clause, ...], generator: random.Random) -> tuple[str, ...]:
    """What each clause does, drawn from what fits; not nothing at all."""
    while True:
        ways = tuple(generator.choice(WAYS[clause.kind]) for clause in clauses)
        if any(ways):
            return ways


def known_ways(clauses: tuple[Clause, ...], generator: random.Random) -> tuple[str, ...]:
    """What the clauses do for a reader who knows when a clause plays a part, but few of the verbs.

    A clause that its setting rules out does nothing, one with a known verb does what it truly does,
    and one with a new verb anything that fits. If no clause plays a part, any may do anything.
    """
    truth = true_ways(clauses)
    while any(truth):
        ways = tuple(
            generator.choice(WAYS[clause.kind]) if way and clause.verb in NEW_VERBS else way
            for clause, way in zip(clauses, truth, strict=True)
        )
        if any(ways):
            return ways
    return draw_ways(clauses, generator)


def wrong_plan(family: Family) -> Plan:
    """The other plan that fits one of the two "sure and wrong" families: it is always taught."""
    (wrong,) = (plan for plan in fitting_plans(family.shape) if plan != true_plan(family))
    return wrong

"""The stream of pretraining examples: random chains, unguided and guided in equal parts.

A guided example's plan is uniform among those that fit. An unguided one does what the clauses
truly do, except for those with a new verb (`grammar.NEW_VERBS`): they do anything that fits. So the
ignorance that is built in is: **the student knows when a sentence plays a part and what a few verbs
do, but twenty verbs are new words for it.** On a training chain it is right about one time in ten:
one time in eight if a clause plays no part, one time in 26 if all three play one. In the control
world, where nothing can be known, all its unguided plans are uniform.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from ..problems import Problem
from .chains import (
    Family,
    draw_chain,
    draw_ways,
    families_of_chains,
    is_held_out,
    known_ways,
    plan_of,
    wrong_plan,
)
from .grammar import NAMES
from .plans import fitting_plans, number_tuples
from .world import TRAINING_SHARES, draw_cast, draw_forms, names_of, write_problem

LENGTHS = (2, 3, 3, 4, 4, 1)  # of the chains, drawn uniformly, once all lengths are told
SURE_AND_WRONG_SHARE = 0.02


def pretraining_stream(seed: int, growing: int = 0, control: bool = False) -> Iterator[Problem]:
    """Endless pretraining examples: a story, a plan and the solution that follows it.

    Over the first `growing` examples the chains grow: two clauses, then up to three, then up to
    four. Single clauses come last, because they need no strategy to be found. `control` gives the
    control world's stream.
    """
    generator = random.Random(f"pretraining {seed}")
    wrong, number = families_of_chains("sure_and_wrong"), 0
    while True:
        told = (1, 3, 5, 6)[min(3, 4 * number // growing)] if growing else 6
        if generator.random() < SURE_AND_WRONG_SHARE:
            family = generator.choice(wrong)
            names = names_of(family)[1]
        else:
            length = generator.choice(LENGTHS[:told])
            plays = [generator.random() < 0.5 for _ in range(length)]
            chain = draw_chain(length, generator, Counter(), plays=plays)
            if is_held_out(chain):
                continue
            family = Family("practice", chain, ())
            names = NAMES
        number += 1
        guided = generator.random() < 0.5
        if guided:
            plan = generator.choice(fitting_plans(family.shape))
        elif family.sure_and_wrong:
            plan = wrong_plan(family)
        elif control:
            plan = plan_of(draw_ways(family.clauses, generator))
        else:
            plan = plan_of(known_ways(family.clauses, generator))
        tuples = number_tuples(family.shape)
        place = generator.randrange(len(tuples) // 8) * 8 + generator.choice(TRAINING_SHARES)
        cast, forms = draw_cast(names, generator), draw_forms(len(family.clauses) + 2, generator)
        problem = write_problem("", family, plan, tuples[place], cast, forms)
        yield problem if guided else replace(problem, strategy="")

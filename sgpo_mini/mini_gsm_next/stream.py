"""The stream of pretraining examples: random chains, unguided and guided in equal parts.

It never looks at which plan is true. A guided example's plan is uniform among those that fit; an
unguided one's uses each clause at random, each with its verb's own operation. So the ignorance that
is built in is: **the student knows the verbs, but not what plays a part**. On a chain of three
clauses it is right about one time in seven. The control world has the same stream.
"""

import random
from collections import Counter
from collections.abc import Iterator

from ..problems import Problem
from .chains import Family, draw_chain, families_of_chains, is_held_out, taught_plan
from .grammar import NAMES
from .plans import fitting_plans, number_tuples
from .world import TRAINING_SHARES, draw_cast, draw_forms, names_of, write_problem

LENGTHS = (2, 3, 3, 4, 1)  # of the chains, drawn uniformly, once all lengths are told
SURE_AND_WRONG_SHARE = 0.02


def pretraining_stream(seed: int, growing: int = 0, guided_alone: int = 0) -> Iterator[Problem]:
    """Endless pretraining examples: a story, a fitting plan and the solution that follows it.

    Over the first `growing` examples the chains grow: two clauses, then up to three, then any of
    `LENGTHS`. Single clauses come last, because they need no strategy to be found. The
    first `guided_alone` examples all have a strategy.
    """
    generator, uses = random.Random(f"pretraining {seed}"), Counter()
    wrong, number = families_of_chains("sure_and_wrong"), 0
    while True:
        told = (1, 3, 3, 5)[min(3, 4 * number // growing)] if growing else 5
        number += 1
        if generator.random() < SURE_AND_WRONG_SHARE:
            family = generator.choice(wrong)
            names = names_of(family)[1]
        else:
            length = generator.choice(LENGTHS[:told])
            chain = draw_chain(length, generator, uses, always_a_part=False)
            if is_held_out(chain):
                continue
            family = Family("practice", chain, ())
            names = NAMES
        guided = number <= guided_alone or generator.random() < 0.5
        plans = fitting_plans(family.shape)
        tuples = number_tuples(family.shape)
        place = generator.randrange(len(tuples) // 8) * 8 + generator.choice(TRAINING_SHARES)
        yield write_problem(
            "",
            family,
            generator.choice(plans) if guided else taught_plan(family, generator),
            tuples[place],
            draw_cast(names, generator),
            draw_forms(len(family.clauses) + 2, generator),
            guided,
        )

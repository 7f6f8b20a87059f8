"""A world small enough to train in a second: "name an even number", which a strategy helps to do.

Pretraining makes a student that names any number when asked, and mostly an even one when guided. So
both groups have right and wrong answers. Used by the tests of training, and by the processes that
they start.
"""

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import torch

from sgpo_mini.problems import Problem
from sgpo_mini.strategies import INSTRUCTION
from sgpo_mini.student import Student, new_student
from sgpo_mini.supervised import pretrain
from sgpo_mini.training import Config

STRATEGY = "Choose a number that two divides ."
SETTINGS = {
    "steps": 4,
    "problems_per_step": 3,
    "autonomous_rollouts": 4,
    "guided_rollouts": 3,
    "max_new_tokens": 16,
    "learning_rate": 1e-3,
    "checkpoint_every": 2,
}


def config(**changes) -> Config:
    return Config(**SETTINGS | changes)


def even_reward(completion: str, problem: Problem) -> float:
    """1 when the last number that the completion states is even."""
    numbers = [word for word in completion.split() if word.isdigit()]
    return float(bool(numbers) and int(numbers[-1]) % 2 == 0)


def problem(number: int, strategy: str = STRATEGY) -> Problem:
    please = "please , " * (number % 4)  # questions of several lengths
    return Problem(
        id=f"p{number}",
        question=f"{please}name an even number that is not {number}",
        answer="2",
        solution="I take 2 . #### 2",
        strategy=strategy,
    )


def problems(count: int = 10) -> list[Problem]:
    return [problem(number) for number in range(count)]


def stream(seed: int = 0) -> Iterator[Problem]:
    """Half of the examples are guided; those are even nine times in ten, and give their reason."""
    generator = random.Random(seed)
    while True:
        guided = generator.random() < 0.5
        even = guided and generator.random() < 0.8
        number = generator.choice(range(0, 10, 2) if even else range(10))
        reason = "because two divides it " if guided and generator.random() < 0.8 else ""
        reason += "and I like it " * generator.randrange(3)
        asked = problem(generator.randrange(10), STRATEGY if guided else "")
        yield replace(asked, solution=f"I take {number} {reason}. #### {number}")


def fresh_student() -> Student:
    texts = [p.question for p in problems()] + [STRATEGY, INSTRUCTION, "Solution: Strategy:\n"]
    texts += ["I take because two divides it and I like it . #### " + " ".join(map(str, range(10)))]
    words = " ".join(texts).split()  # each at the start of a text and inside one
    return new_student([*texts, *words, *(f" {word}" for word in words)], layers=2, width=64)


@cache
def pretrained_student() -> Student:
    """Shared by all tests of a session: train a copy."""
    torch.set_num_threads(1)
    return pretrain(fresh_student(), stream(), steps=150, batch_size=32, learning_rate=4e-3)


def copy_of(student: Student) -> Student:
    model, tokenizer = copy.deepcopy(student.model), copy.deepcopy(student.tokenizer)
    return replace(student, model=model, tokenizer=tokenizer)


def weights_of(student: Student) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in student.model.state_dict().items()}


def same_weights(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )

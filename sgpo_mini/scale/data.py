"""From our problems to TRL's data set, guided prompts and reward functions. Needs no TRL."""

from collections.abc import Callable, Iterable

from datasets import Dataset

from ..problems import Problem, Reward, numeric_reward
from ..strategies import INSTRUCTION, autonomous_prompt, guided_prompt

# The fields of a problem that become columns: all that are text.
_COLUMNS = ("id", "question", "answer", "solution", "expert_solution", "strategy", "family")


def to_dataset(problems: Iterable[Problem]) -> Dataset:
    """The problems as a data set for `SGPOTrainer`, one row each.

    Columns: `prompt` (chat messages, without the strategy) and the problem's texts, `strategy` and
    `answer` among them. Raises ValueError when there are no problems.
    """
    rows = [
        {"prompt": autonomous_prompt(problem.question)}
        | {name: getattr(problem, name) for name in _COLUMNS}
        for problem in problems
    ]
    if not rows:
        raise ValueError("there are no problems to make a data set of")
    return Dataset.from_list(rows)


def guided_messages(prompt: list[dict], strategy: str) -> list[dict]:
    """The same chat messages with the strategy in the last one: `guided_prompt` of any prompt.

    The strategy stands before our instruction where the prompt ends with it, else at the end.
    """
    *before, last = prompt
    question, instruction, rest = last["content"].rpartition(f"\n\n{INSTRUCTION}")
    if instruction and not rest:
        content = guided_prompt(question, strategy)[0]["content"]
    else:
        content = f"{last['content']}\n\nStrategy:\n{strategy}"
    return [*before, {**last, "content": content}]


def as_reward_function(reward: Reward = numeric_reward) -> Callable[..., list[float]]:
    """One of our rewards (completion, problem -> number) as a reward function of TRL's.

    The problem is put together from the data set's columns. A completion that the length limit cut
    off earns 0, as in our loop: `SGPOTrainer` tells which ones it did, in `truncated`.
    """

    def rewards(*, completions, truncated=None, **columns) -> list[float]:
        known = {name: columns[name] for name in _COLUMNS if name in columns}
        values = []
        for place, completion in enumerate(completions):
            if truncated is not None and truncated[place]:
                values.append(0.0)
                continue
            text = completion if isinstance(completion, str) else completion[-1]["content"]
            fields = {"id": "", "question": "", "answer": ""}
            fields |= {name: column[place] for name, column in known.items()}
            values.append(float(reward(text, Problem(**fields))))
        return values

    rewards.__name__ = reward.__name__
    return rewards

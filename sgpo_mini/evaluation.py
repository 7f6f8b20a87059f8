"""How well a student answers: accuracy, pass@k, and two students compared."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from .problems import Problem, Reward, numeric_reward
from .rollout import rewards_of, sample
from .student import Student
from .support.checks import refuse_beyond_window, try_reward
from .support.diagnostics import Diagnostics
from .support.intervals import mean_difference
from .support.memory import completions_at_once


@dataclass(frozen=True)
class Evaluation:
    """A student's completions for P problems, k each, and whether they are right."""

    problems: tuple[Problem, ...]
    completions: tuple[tuple[str, ...], ...]  # (P, k)
    correct: tuple[tuple[bool, ...], ...]  # (P, k)
    truncated: tuple[tuple[bool, ...], ...]  # (P, k)
    guided: bool

    @property
    def accuracies(self) -> list[float]:
        """Each problem's share of right completions, (P,)."""
        return [sum(row) / len(row) for row in self.correct]

    @property
    def accuracy(self) -> float:
        return avg_at_k(self.correct)

    @property
    def cut_off(self) -> float:
        """The share of completions cut off at the length limit."""
        return avg_at_k(self.truncated)

    def by_family(self) -> dict[str, list[float]]:
        """The accuracies of each family's problems."""
        families: dict[str, list[float]] = {}
        for problem, accuracy in zip(self.problems, self.accuracies, strict=True):
            families.setdefault(problem.family, []).append(accuracy)
        return families

    def save(self, path: str | Path) -> None:
        """Write every completion as JSONL, so that people can check the score."""
        with open(path, "w", encoding="utf-8") as file:
            for i, problem in enumerate(self.problems):
                for j, completion in enumerate(self.completions[i]):
                    row = {"id": problem.id, "family": problem.family, "guided": self.guided}
                    row |= {"question": problem.question, "answer": problem.answer}
                    row |= {"completion": completion, "correct": self.correct[i][j]}
                    row |= {"truncated": self.truncated[i][j]}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")


def evaluate(
    student: Student,
    problems: Sequence[Problem],
    *,
    guided: bool = False,
    samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    max_new_tokens: int = 256,
    reward: Reward = numeric_reward,
    right_reward: float = 1.0,
    batch_size: int | None = None,
    seed: int = 0,
    progress: str | None = None,
    within: Diagnostics | None = None,
) -> Evaluation:
    """Sample `samples` completions for each problem, with or without its strategy, and score them.

    Temperature 0 is greedy for any `top_p`. `batch_size` counts completions; None: as many as
    memory allows. A completion is right if its reward is at least `right_reward` and it was not cut
    off at the length limit. Warns on standard error if most completions were cut off, or if none
    reaches `right_reward` although some earn a reward. Torch's random state is restored. `progress`
    names a progress bar.

    Before sampling, raises ValueError if there are no problems, a guided problem has no strategy, a
    setting is invalid, a prompt plus `max_new_tokens` exceeds the student's context window, or the
    reward is not finite (it is tried once on each problem). A run that has done the last two checks
    passes its `Diagnostics` as `within`, which reports each kind of problem once.
    """
    if not problems:
        raise ValueError("there are no problems to evaluate on")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, not {samples}")
    if temperature < 0 or not 0 < top_p <= 1:
        raise ValueError(
            "temperature must be at least 0, top_p above 0 and at most 1, not "
            f"{temperature} and {top_p}"
        )
    if not right_reward > 0:
        raise ValueError(
            f"right_reward must be above 0, not {right_reward}: a cut-off completion earns 0"
        )
    if temperature == 0 and samples > 1:
        raise ValueError("several samples per problem need a temperature above 0")
    if guided and (without := [p.id for p in problems if not p.strategy.strip()]):
        raise ValueError(
            f"guided evaluation: {len(without)} problems, such as {without[0]!r}, have no "
            "strategy; give a file with theirs (--strategies FILE)"
        )
    if within is None:
        refuse_beyond_window(student, problems, guided=guided, max_new_tokens=max_new_tokens)
        try_reward(reward, problems)
        within = Diagnostics()
    name = progress or ("guided" if guided else "unguided")
    prompts = [student.prompt_ids(p.question, p.strategy if guided else "") for p in problems]
    # Sorted by length, so that batches need little padding.
    order = sorted(range(len(problems)), key=lambda index: len(prompts[index]))
    longest = max(map(len, prompts)) + max_new_tokens
    size = max((batch_size or completions_at_once(student, longest)) // samples, 1)
    texts, right, cut = ([()] * len(problems) for _ in range(3))
    highest = 0.0
    bar = tqdm(total=len(problems), desc=progress, disable=progress is None, leave=False)
    shown = time.monotonic()

    def watch(tokens: int) -> None:
        """A batch of a large model takes minutes, so its tokens are shown every two seconds."""
        nonlocal shown
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            bar.set_postfix_str(f"token {tokens} of at most {max_new_tokens}")

    devices = [student.device] if student.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rollouts = sample(
                student,
                [prompts[index] for index in chosen],
                samples,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
                watch=watch if progress else None,
            )
            answered = [problems[index] for index in chosen]
            rewards = rewards_of(rollouts, answered, reward)  # (P, k)
            right_now = (rewards >= right_reward).tolist()
            highest = max(highest, rewards.max().item())
            for place, index in enumerate(chosen):
                group = slice(place * samples, (place + 1) * samples)
                texts[index] = tuple(rollouts.texts[group])
                right[index] = tuple(right_now[place])
                cut[index] = tuple(rollouts.truncated[group].tolist())
            bar.update(len(chosen))
            answers, done = sum(map(len, cut)), start + size >= len(order)
            within.answering(name, sum(map(sum, cut)), answers, max_new_tokens, done)
    bar.close()
    within.answered(name, sum(map(sum, right)), highest, right_reward)
    return Evaluation(tuple(problems), tuple(texts), tuple(right), tuple(cut), guided)


def avg_at_k(correct: Sequence[Sequence[bool]]) -> float:
    """avg@k: the mean accuracy over k samples per problem, (P, k) -> between 0 and 1."""
    return sum(sum(row) / len(row) for row in correct) / len(correct)


def pass_at_k(correct: Sequence[Sequence[bool]], k: int) -> float:
    """pass@k: an unbiased estimate of the probability that at least one of k samples is right.

    For n samples with c right: 1 - C(n-c, k) / C(n, k), averaged over problems (Chen et al. 2021,
    arXiv:2107.03374, equation 1). Raises ValueError if k is above n.
    """
    samples = min(len(row) for row in correct)
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples per problem, not {samples}")
    miss = [math.comb(len(row) - sum(row), k) / math.comb(len(row), k) for row in correct]
    return 1 - sum(miss) / len(miss)


def paired_difference(first: Evaluation, second: Evaluation) -> tuple[float, tuple[float, float]]:
    """Accuracy of second minus first on the same problems, with its 95 % interval."""
    if [p.id for p in first.problems] != [p.id for p in second.problems]:
        raise ValueError("a paired difference needs two evaluations of the same problems")
    pairs = zip(first.accuracies, second.accuracies, strict=True)
    return mean_difference([after - before for before, after in pairs])

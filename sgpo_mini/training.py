"""The training loop that all methods share: draw problems, `collect`, update, log, checkpoint.

`methods.py` defines what each method learns in a step.
"""

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

import torch
from tqdm import tqdm

from .checkpoints import RunFolder
from .config import IMITATING, METHODS, Config
from .evaluation import evaluate
from .methods import Experience, accumulate_gradient, collect
from .problems import Problem, Reward, numeric_reward
from .strategies import having_strategies, require_strategies
from .student import Student
from .supervised import pretrain, warm_up
from .support.checks import RewardError, refuse_beyond_window, refuse_unknown_words, try_reward
from .support.diagnostics import Diagnostics
from .support.digests import digests_of_problems, digests_of_student
from .support.launchers import refuse_several_processes
from .support.notes import solutions_to_learn
from .support.steps import (
    count_step,
    finishing_steps,
    gradient_scaler,
    refuse_failures,
    take_step,
    timings_of,
)
from .support.weights import put_weights, weights_of

__all__ = ["METHODS", "Config", "pretrain", "train", "warm_up"]


def train(
    student: Student,
    problems: Sequence[Problem],
    config: Config,
    *,
    reward: Reward = numeric_reward,
    validation: Sequence[Problem] | None = None,
) -> Student:
    """Train the student in place with the configured method; returns the student.

    The run writes its log, checkpoints and the trained student to `config.out`. With
    `config.resume` it continues bit for bit from the newest intact checkpoint. With
    `config.early_stop` the student ends with the weights that were best on `validation`. On Ctrl-C
    the run finishes its step, saves a checkpoint and raises KeyboardInterrupt. It warns once on
    standard error when most completions are cut off, when steps have nothing to learn, and when no
    completion counts as right although some earn a reward.

    Before training, raises ValueError if the configuration or a problem can't be used, a text
    exceeds the student's context window, or the reward is not finite (it is tried once on each
    problem). Raises RuntimeError if a launcher started several processes, if the loss or gradient
    is not finite in five steps in a row, or if the reward fails during training (after saving a
    checkpoint of the steps before).
    """
    refuse_several_processes()
    config.check()
    if not problems:
        raise ValueError("there are no problems to train on")
    if config.early_stop and not validation:
        raise ValueError("early_stop needs validation accuracy: give validation problems")
    if not (config.chat_template_kwargs or {}).items() <= student.chat_template_kwargs.items():
        raise ValueError("the student has other chat_template_kwargs: pass them to load_student")
    digests = _digests(student, problems, validation, config) if config.out else {}
    noted, keep = False, config.calculation_notes
    if config.method in IMITATING:
        problems, noted = solutions_to_learn(problems, config.given_solution, keep)
    problems = _usable(student, problems, config)
    _try_out(student, problems, validation, config, reward)
    size = config.problems_per_step
    if config.method == "sft":
        size = solutions_per_step(student, problems, config)
    if config.threads:
        torch.set_num_threads(config.threads)
    settings = asdict(config)
    del settings["resume"]
    settings["chat_template_kwargs"] = student.chat_template_kwargs or None
    # Versions without this setting kept all notes.
    may_differ, defaults = ("steps", "out"), asdict(Config()) | {"calculation_notes": noted or keep}
    with RunFolder.open(
        config.out, settings, config.resume, digests, may_differ, defaults
    ) as folder:
        return _train(student, problems, size, config, reward, validation, folder)


def _train(
    student: Student,
    problems: Sequence[Problem],
    size: int,
    config: Config,
    reward: Reward,
    validation: Sequence[Problem] | None,
    folder: RunFolder | None,
) -> Student:
    """The loop over steps of `size` problems; a resumed run continues from its checkpoint."""
    parameters = [p for p in student.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    scaler = gradient_scaler(student)
    state = {"step": 0, "skipped": 0, "skipped_in_a_row": 0, "best_step": 0, "best_accuracy": -1.0}
    if config.resume:
        state |= folder.resume(student, optimizer, scaler)
    resumes_best = config.resume and state["best_step"]
    best = folder.load_best(student, state["best_step"]) if resumes_best else {}
    # Evaluation mode: with dropout, the updated policy would differ from the one that sampled.
    # Gradient checkpointing needs training mode, so loading such a student sets dropout to 0.
    student.model.train(student.gradient_checkpointing)

    # A run that stopped early has no steps left when it is resumed.
    steps = range(state["step"], config.steps if not _stops_early(state, config) else 0)
    diagnostics = Diagnostics()
    bar = tqdm(steps, config.method, config.steps, initial=state["step"], leave=False)
    with bar, finishing_steps(config.out) as interrupted:
        for step in bar:
            begin = time.perf_counter()
            torch.manual_seed(_seed_of(config.seed, step))
            batch = batch_of_step(problems, size, config.seed, step)
            try:
                experience = collect(student, batch, config, reward)
            except RewardError as error:  # this completion differs from those of `try_reward`
                told = f"step {step + 1}: {error}"
                if folder:
                    told += f"; fix the reward and continue with --resume --out {config.out}"
                if folder and step:
                    folder.save_checkpoint(step, student, optimizer, scaler, state)
                raise RuntimeError(told) from error
            sampled = time.perf_counter()
            learnt, finite = _update(student, optimizer, scaler, experience, config)
            timings = timings_of(begin, sampled, experience.sampled_tokens, student.device)
            count_step(state, step + 1, finite)
            metrics = {"step": step + 1, **experience.metrics, **learnt}
            metrics["skipped_steps"] = state["skipped"]
            if validation and config.evaluate_every and (step + 1) % config.evaluate_every == 0:
                measured = evaluate(
                    student,
                    validation,
                    max_new_tokens=config.max_new_tokens,
                    reward=reward,
                    right_reward=config.right_reward,
                    within=diagnostics,
                )
                metrics["validation_accuracy"] = measured.accuracy
                if config.early_stop and measured.accuracy > state["best_accuracy"]:
                    state |= {"best_step": step + 1, "best_accuracy": measured.accuracy}
                    best = weights_of(student)
                    if folder:
                        folder.save_best(best)
            bar.set_postfix({name: metrics[name] for name in ("p_auto", "alpha")}, refresh=False)
            state["step"] = step + 1
            stop = bool(interrupted) or _stops_early(state, config)
            last = stop or step + 1 == config.steps
            if experience.rewards is not None:  # SFT samples nothing
                rewards, cut_off = experience.rewards, experience.cut_off
                any_gradient = metrics["gradient_norm"] != 0
                diagnostics.after_step(step + 1, rewards, cut_off, any_gradient, config, last)
            if folder:
                folder.log("metrics", metrics)
                folder.log("timings", {"step": step + 1, **timings})
                new_best = state["best_step"] == step + 1  # best weights and state must match
                if last or new_best or (step + 1) % config.checkpoint_every == 0:
                    folder.save_checkpoint(step + 1, student, optimizer, scaler, state)
            if stop:
                break
            refuse_failures(state)
    put_weights(student, best)
    if folder:
        folder.save_student(student)
    return student


def _digests(student, problems, validation, config: Config) -> dict[str, str]:
    """The digests of a run's problems, validation problems and student."""
    reads_strategies = config.group_sizes()[1] > 0 or config.only_with_strategies
    found = digests_of_problems(problems, strategies=reads_strategies)
    if validation and config.evaluate_every:
        found |= digests_of_problems(validation, strategies=False, name="validation problems")
    return found | digests_of_student(student.sources)


def _usable(student: Student, problems: Sequence[Problem], config: Config) -> list[Problem]:
    """The problems to train on; ValueError if one lacks a text that the method reads."""
    guided, imitating = config.group_sizes()[1] > 0, config.method in IMITATING
    if config.only_with_strategies:
        problems, asked = having_strategies(problems), len(problems)
        left_out = asked - len(problems)
        print(f"{left_out} of {asked} problems have no strategy: left out", file=sys.stderr)
    if guided and not config.grpo_without_strategy:
        others = ", learn from these by GRPO alone (--grpo-without-strategy)"
        others += ", train on the others alone (--only-with-strategies)"
        require_strategies(problems, f"{others}, or use a method that needs none")
    name = config.given_solution
    if imitating and (without := [p.id for p in problems if not getattr(p, name).strip()]):
        other = "solution" if name == "expert_solution" else "expert_solution"
        raise ValueError(
            f"{len(without)} of {len(problems)} problems have no {name}, {without[0]!r} first, and "
            f"{config.method} imitates it: add it, or try given_solution={other}"
        )
    read = [p.question for p in problems]
    read += [p.strategy for p in problems if guided]
    read += [getattr(p, name) for p in problems if imitating]
    refuse_unknown_words(student, read)
    return list(problems)


def _try_out(
    student: Student,
    problems: Sequence[Problem],
    validation: Sequence[Problem] | None,
    config: Config,
    reward: Reward,
) -> None:
    """ValueError if a text exceeds the context window or the reward fails on a problem."""
    guided, length = config.group_sizes()[1] > 0, config.max_new_tokens
    sampled = problems if config.method != "sft" else ()
    measured = validation if validation and config.evaluate_every else ()
    refuse_beyond_window(student, sampled, guided=guided, max_new_tokens=length)
    refuse_beyond_window(student, measured, max_new_tokens=length)
    if config.method in IMITATING:
        refuse_beyond_window(student, problems, solution=config.given_solution)
    try_reward(reward, [*sampled, *measured])


def solutions_per_step(student: Student, problems: Sequence[Problem], config: Config) -> int:
    """How many given solutions SFT learns in a step: as many as other methods sample completions.

    `config.sft_tokens_per_step` sets the average number of tokens instead.
    """
    if not config.sft_tokens_per_step:
        return config.problems_per_step * (config.autonomous_rollouts + config.guided_rollouts)
    lengths = [len(student.completion_ids(getattr(p, config.given_solution))) for p in problems]
    return max(round(config.sft_tokens_per_step * len(lengths) / sum(lengths)), 1)


def batch_of_step(problems: Sequence[Problem], size: int, seed: int, step: int) -> list[Problem]:
    """The problems of a step; each epoch has its own random order, and steps may span epochs."""
    chosen, count = [], len(problems)
    for epoch in range(step * size // count, ((step + 1) * size - 1) // count + 1):
        order = random.Random(f"order {seed} {epoch}").sample(range(count), count)
        start, end = (max(0, min(count, (step + i) * size - epoch * count)) for i in (0, 1))
        chosen += [problems[place] for place in order[start:end]]
    return chosen


def _stops_early(state: dict, config: Config) -> bool:
    """Whether the last `early_stop` evaluations brought no new best."""
    patience = config.early_stop * config.evaluate_every
    return bool(patience and state["best_step"] and state["step"] - state["best_step"] >= patience)


def _update(
    student, optimizer, scaler, experience: Experience, config: Config
) -> tuple[dict[str, float], bool]:
    """Update on a step's experience: (metrics of the first update, whether all were finite).

    If a loss or gradient is not finite, this update and the rest of the step are skipped.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    metrics: dict[str, float] = {}
    for _ in range(config.updates_per_batch):
        measured = accumulate_gradient(student, experience, config, scaler.scale)
        if all(p.grad is None for p in parameters):  # nothing to learn
            return measured | {"gradient_norm": 0.0}, True
        norm, finite = take_step(optimizer, scaler, measured["loss"], config.max_grad_norm)
        metrics = metrics or measured | {"gradient_norm": norm}
        if not finite:
            return metrics, False
    return metrics, True


def _seed_of(seed: int, step: int) -> int:
    """A step's seed depends on run seed and step alone, so resuming needs no random state."""
    return random.Random(f"step {seed} {step}").getrandbits(63)

"""The one training loop of every method: draw problems, `collect`, update, log, checkpoint.

What a step of each method learns is in `methods.py`.
"""

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

import torch
from tqdm import tqdm

from .checkpoints import RunFolder, put_weights, weights_of
from .config import IMITATING, METHODS, Config
from .evaluation import evaluate
from .methods import Experience, accumulate_gradient, collect
from .problems import Problem, Reward, numeric_reward
from .strategies import having_strategies, require_strategies
from .student import Student, refuse_unknown_words
from .supervised import pretrain, warm_up
from .support.checks import RewardError, refuse_beyond_window, try_reward
from .support.diagnostics import Diagnostics
from .support.digests import digests_of_problems, digests_of_student
from .support.launchers import refuse_several_processes
from .support.steps import count_step, finishing_steps, gradient_scaler, refuse_failures, take_step

__all__ = ["METHODS", "Config", "pretrain", "train", "warm_up"]


def train(
    student: Student,
    problems: Sequence[Problem],
    config: Config,
    *,
    reward: Reward = numeric_reward,
    validation: Sequence[Problem] | None = None,
) -> Student:
    """Train the student in place by the configured method; returns it.

    With `config.out` the run leaves its log, checkpoints and the trained student there, and with
    `config.resume` it goes on from the newest sound checkpoint, bit for bit. Ctrl-C ends the run
    after the step in progress, with a checkpoint, by KeyboardInterrupt. One sentence on standard
    error tells when most completions are cut off, when there is nothing to learn, and when none
    counts as right although rewards are given.

    Raises ValueError before anything starts where the configuration or a problem can't be used, a
    text doesn't fit the student's context window, or the reward, which is called once for each
    problem, gives no finite number. Raises RuntimeError where a launcher started several processes,
    when the loss or gradient was not finite five times in a row, and when the reward fails on a
    completion (with a checkpoint of the steps before).

    With `config.early_stop` the student ends with the weights that were best on `validation`.
    """
    refuse_several_processes()
    config.check()
    if not problems:
        raise ValueError("there are no problems to train on")
    if config.early_stop and not validation:
        raise ValueError("early_stop goes by validation accuracy: give validation problems")
    if not (config.chat_template_kwargs or {}).items() <= student.chat_template_kwargs.items():
        raise ValueError("the student has other chat_template_kwargs: give them to load_student")
    digests = _digests(student, problems, validation, config) if config.out else {}
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
    may_differ = ("steps", "out")
    with RunFolder.open(config.out, settings, config.resume, digests, may_differ) as folder:
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
    """The loop: `size` problems a step, from where the run in `folder` stands."""
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
    # Dropout would make the policy that learns another than the one that sampled; only gradient
    # checkpointing needs the training mode.
    student.model.train(student.gradient_checkpointing)

    # A run that stopped early has nothing more to do when it is resumed.
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
            except RewardError as error:  # its completion was unlike the one of the trial
                told = f"step {step + 1}: {error}"
                if folder:
                    told += f"; mend the reward and go on with --resume --out {config.out}"
                if folder and step:
                    folder.save_checkpoint(step, student, optimizer, scaler, state)
                raise RuntimeError(told) from error
            sampled = time.perf_counter()
            learnt, finite = _update(student, optimizer, scaler, experience, config)
            timings = _timings(begin, sampled, experience.sampled_tokens, student.device)
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
                new_best = state["best_step"] == step + 1  # its weights and the state go together
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
    """The digests of all that a run is given beside its settings."""
    reads_strategies = config.group_sizes()[1] > 0 or config.only_with_strategies
    found = digests_of_problems(problems, strategies=reads_strategies)
    if validation and config.evaluate_every:
        found |= digests_of_problems(validation, strategies=False, name="validation problems")
    return found | digests_of_student(student.sources)


def _usable(student: Student, problems: Sequence[Problem], config: Config) -> list[Problem]:
    """The problems with the strategies that the method reads; ValueError where it lacks a text."""
    guided, imitating = config.group_sizes()[1] > 0, config.method in IMITATING
    if config.only_with_strategies:
        problems, asked = having_strategies(problems), len(problems)
        left_out = asked - len(problems)
        print(f"{left_out} of {asked} problems have no strategy: left out", file=sys.stderr)
    if guided:
        others = ", train on the others alone (--only-with-strategies)"
        require_strategies(problems, f"{others}, or take a method that needs none")
    name = config.given_solution
    if imitating and (without := [p.id for p in problems if not getattr(p, name).strip()]):
        other = "solution" if name == "expert_solution" else "expert_solution"
        raise ValueError(
            f"{len(without)} of {len(problems)} problems have no {name}, {without[0]!r} first, and "
            f"{config.method} imitates it: give problems with theirs, or try given_solution={other}"
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
    """ValueError where a text is beyond the context window, or the reward fails on a problem."""
    guided, length = config.group_sizes()[1] > 0, config.max_new_tokens
    sampled = problems if config.method != "sft" else ()
    measured = validation if validation and config.evaluate_every else ()
    refuse_beyond_window(student, sampled, guided=guided, max_new_tokens=length)
    refuse_beyond_window(student, measured, max_new_tokens=length)
    if config.method in IMITATING:
        refuse_beyond_window(student, problems, solution=config.given_solution)
    try_reward(reward, [*sampled, *measured])


def solutions_per_step(student: Student, problems: Sequence[Problem], config: Config) -> int:
    """How many given solutions SFT learns in a step: as many as the other methods sample.

    With `config.sft_tokens_per_step`: as many as have so many tokens on average.
    """
    if not config.sft_tokens_per_step:
        return config.problems_per_step * (config.autonomous_rollouts + config.guided_rollouts)
    lengths = [len(student.completion_ids(getattr(p, config.given_solution))) for p in problems]
    return max(round(config.sft_tokens_per_step * len(lengths) / sum(lengths)), 1)


def batch_of_step(problems: Sequence[Problem], size: int, seed: int, step: int) -> list[Problem]:
    """The problems of a step: every epoch in its own random order, without gaps between epochs."""
    chosen, count = [], len(problems)
    for epoch in range(step * size // count, ((step + 1) * size - 1) // count + 1):
        order = random.Random(f"order {seed} {epoch}").sample(range(count), count)
        start, end = (max(0, min(count, (step + i) * size - epoch * count)) for i in (0, 1))
        chosen += [problems[place] for place in order[start:end]]
    return chosen


def _stops_early(state: dict, config: Config) -> bool:
    """Whether the last `early_stop` measurements brought no new best."""
    patience = config.early_stop * config.evaluate_every
    return bool(patience and state["best_step"] and state["step"] - state["best_step"] >= patience)


def _update(
    student, optimizer, scaler, experience: Experience, config: Config
) -> tuple[dict[str, float], bool]:
    """One or more updates on a step's experience: the metrics of the first, were all finite?

    An update whose loss or gradient is not finite is left out, and the rest of the step with it.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    metrics: dict[str, float] = {}
    for _ in range(config.updates_per_batch):
        measured = accumulate_gradient(student, experience, config, scaler.scale)
        if all(p.grad is None for p in parameters):  # nothing to learn, nothing to step
            return measured | {"gradient_norm": 0.0}, True
        norm, finite = take_step(optimizer, scaler, measured["loss"], config.max_grad_norm)
        metrics = metrics or measured | {"gradient_norm": norm}
        if not finite:
            return metrics, False
    return metrics, True


def _seed_of(seed: int, step: int) -> int:
    """A step's random numbers depend on nothing but seed and step, so resuming needs no state."""
    return random.Random(f"step {seed} {step}").getrandbits(63)


def _timings(begin: float, sampled: float, tokens: int, device: torch.device) -> dict:
    now = time.perf_counter()
    timings = {"seconds": now - begin, "rollout_seconds": sampled - begin}
    timings |= {"update_seconds": now - sampled, "sampled_tokens": tokens}
    timings["sampled_tokens_per_second"] = tokens / (sampled - begin)
    timings["peak_memory_bytes"] = _peak_memory(device)
    return timings


def _peak_memory(device: torch.device) -> int | None:
    """The GPU's, else the process's (None on Windows, which does not tell)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

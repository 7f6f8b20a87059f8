"""The method: one configuration, one step, one loop.

A step samples two groups for every problem q: an autonomous one from π(·|q) and a guided one from
π(·|q,s), with the same weights. GRPO learns from the first. Of the second, the right trajectory
that the unguided student could most nearly have written itself is distilled into it, weighted by
how much the strategy helped: L(q) = L_GRPO(q) + α(q) · L_KD^clip(q). Source: SGPO
(arXiv:2606.24064).

`method="grpo"` spends the same number of rollouts on one autonomous group. Another method is
another entry of METHODS and another branch of `collect`.
"""

import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from .checkpoints import RunFolder, finishing_steps
from .evaluation import evaluate
from .losses import (
    adaptive_weight,
    distillation_loss,
    group_advantages,
    grpo_loss,
    reachable_target,
)
from .problems import Problem, Reward, numeric_reward
from .rollout import Rollouts, rewards_of, sample, score, strategy_kl
from .strategies import require_strategies
from .student import Student, refuse_unknown_words, save_student
from .supervised import gradient_scaler, pretrain, warm_up

__all__ = ["METHODS", "Config", "pretrain", "train", "warm_up"]

# Group sizes (autonomous, guided) of each method from the two that the configuration names.
METHODS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "sgpo": lambda autonomous, guided: (autonomous, guided),
    "grpo": lambda autonomous, guided: (autonomous + guided, 0),
}
FAILURES_IN_A_ROW = 5


@dataclass
class Config:
    """Everything that a run depends on. The defaults are the paper's, where it gives a value.

    `student`, `data`, `strategies`, `lora_rank` and `gradient_checkpointing` say what was loaded
    before `train` is called; it takes these as it finds them.
    """

    student: str = "tiny"
    data: str = "mini-gsm"
    strategies: str = ""
    method: str = "sgpo"
    steps: int = 100
    problems_per_step: int = 8
    autonomous_rollouts: int = 8  # G1
    guided_rollouts: int = 4  # G2
    max_new_tokens: int = 256
    temperature: float = 1.0
    autonomous_grpo: bool = True
    clip_low: float = 0.2  # with one update a batch the ratio is 1 and the clip does nothing
    clip_high: float = 0.28
    updates_per_batch: int = 1
    strategy_distillation: bool = True
    delta: float | None = 1.0  # nats; None keeps every token
    select_target: bool = True  # False: one of the right guided trajectories at random
    normalize_target: str = "mean"
    reverse_kl: bool = False
    fixed_alpha: float | None = None  # None: adaptive
    alpha0: float = 0.5
    gamma: float = 0.1
    alpha_max: float = 0.8
    learning_rate: float = 1e-6
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    micro_batch: int = 0  # sequences in one backward pass; 0: all at once
    lora_rank: int = 0  # 0: all weights are trained
    gradient_checkpointing: bool = False
    evaluate_every: int = 0  # steps; 0: never
    checkpoint_every: int = 25  # steps; the last step always gets one
    seed: int = 0
    threads: int = 0  # 0: as torch is set; bit-for-bit repeats need the same number
    out: str = ""
    resume: bool = False

    def check(self) -> None:
        """Raise ValueError, naming what is allowed, where a value is impossible."""
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if self.normalize_target not in ("sum", "mean"):
            raise ValueError(f"normalize_target must be sum or mean, not {self.normalize_target!r}")
        at_least = dict.fromkeys(("micro_batch", "lora_rank", "evaluate_every", "threads"), 0)
        at_least |= dict.fromkeys(("alpha0", "alpha_max", "weight_decay", "fixed_alpha"), 0)
        at_least |= dict.fromkeys(("steps", "problems_per_step", "guided_rollouts"), 1)
        at_least |= dict.fromkeys(("max_new_tokens", "updates_per_batch", "checkpoint_every"), 1)
        at_least |= {"autonomous_rollouts": 2}
        above_zero = ("temperature", "learning_rate", "max_grad_norm", "gamma", "delta")
        for name in (*at_least, *above_zero, "clip_low", "clip_high"):
            value = getattr(self, name)
            if value is None and name in ("delta", "fixed_alpha"):
                continue
            possible = value >= at_least[name] if name in at_least else value > 0
            if not (possible and math.isfinite(value)):
                limit = f"at least {at_least[name]}" if name in at_least else "above 0"
                raise ValueError(f"{name} must be {limit} and finite, not {value}")
        if not self.autonomous_grpo and (not self.strategy_distillation or self.method == "grpo"):
            raise ValueError("without autonomous_grpo and strategy distillation nothing is learnt")

    def group_sizes(self) -> tuple[int, int]:
        return METHODS[self.method](self.autonomous_rollouts, self.guided_rollouts)


@dataclass
class Experience:
    """What one step has to learn from: P problems and the two groups of each."""

    problems: list[Problem]
    autonomous_prompts: list[list[int]]
    guided_prompts: list[list[int]]
    autonomous: Rollouts  # P · G1
    advantages: Tensor  # (P · G1,)
    old_logps: Tensor | None  # (P · G1, T); None: the policy has not moved since
    targets: Rollouts | None  # õ⁺ of the problems that have one, `rows` counts the problems
    alpha: Tensor  # (P,) as computed
    sampled_tokens: int
    metrics: dict[str, float]


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
    after the step in progress, with a checkpoint, by KeyboardInterrupt. Raises ValueError before
    anything starts where the configuration or a problem can't be used, and RuntimeError when the
    loss or gradient was not finite five times in a row.
    """
    config.check()
    if not problems:
        raise ValueError("there are no problems to train on")
    guided = config.group_sizes()[1] > 0
    if guided:
        require_strategies(problems)
    read = (f"{p.question}\n{p.strategy}" if guided else p.question for p in problems)
    refuse_unknown_words(student, read)
    if config.threads:
        torch.set_num_threads(config.threads)
    parameters = [p for p in student.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    scaler = gradient_scaler(student)
    settings = asdict(config)
    del settings["resume"]
    folder = RunFolder.open(config.out, settings, config.resume, may_differ=("steps", "out"))
    state = {"step": 0, "skipped": 0, "skipped_in_a_row": 0}
    if config.resume:
        state |= folder.resume(student, optimizer, scaler)
    # Dropout would make the policy that learns another than the one that sampled; only gradient
    # checkpointing needs the training mode.
    student.model.train(student.gradient_checkpointing)

    steps = range(state["step"], config.steps)
    bar = tqdm(steps, config.method, config.steps, initial=state["step"], leave=False)
    with bar, finishing_steps(config.out) as interrupted:
        for step in bar:
            begin = time.perf_counter()
            torch.manual_seed(_seed_of(config.seed, step))
            batch = batch_of_step(problems, config.problems_per_step, config.seed, step)
            experience = collect(student, batch, config, reward)
            sampled = time.perf_counter()
            learnt, finite = _update(student, optimizer, scaler, experience, config)
            timings = _timings(begin, sampled, experience.sampled_tokens, student.device)
            state["skipped"] += not finite
            state["skipped_in_a_row"] = 0 if finite else state["skipped_in_a_row"] + 1
            metrics = {"step": step + 1, **experience.metrics, **learnt}
            metrics["skipped_steps"] = state["skipped"]
            if validation and config.evaluate_every and (step + 1) % config.evaluate_every == 0:
                measured = evaluate(
                    student, validation, max_new_tokens=config.max_new_tokens, reward=reward
                )
                metrics["validation_accuracy"] = measured.accuracy
            bar.set_postfix({name: metrics[name] for name in ("p_auto", "alpha")}, refresh=False)
            stop = bool(interrupted)
            if folder:
                folder.log("metrics", metrics)
                folder.log("timings", {"step": step + 1, **timings})
                if stop or step + 1 == config.steps or (step + 1) % config.checkpoint_every == 0:
                    state["step"] = step + 1
                    folder.save_checkpoint(step + 1, student, optimizer, scaler, state)
            if stop:
                break
            if state["skipped_in_a_row"] >= FAILURES_IN_A_ROW:
                raise RuntimeError(
                    f"the loss or its gradient was not finite in {FAILURES_IN_A_ROW} steps in a "
                    "row, so the run stopped; its checkpoints hold finite weights. Try a smaller "
                    "learning rate (--learning-rate)"
                )
    if folder:
        save_student(student, folder.path / "student")
    return student


def batch_of_step(problems: Sequence[Problem], size: int, seed: int, step: int) -> list[Problem]:
    """The problems of a step: every epoch in its own random order, without gaps between epochs."""
    chosen = []
    for position in range(step * size, (step + 1) * size):
        epoch, place = divmod(position, len(problems))
        order = random.Random(f"order {seed} {epoch}").sample(range(len(problems)), len(problems))
        chosen.append(problems[order[place]])
    return chosen


def collect(
    student: Student, problems: list[Problem], config: Config, reward: Reward
) -> Experience:
    """Sample both groups of every problem, reward them, and choose what is to be distilled."""
    group1, group2 = config.group_sizes()
    count = len(problems)
    autonomous_prompts = [student.prompt_ids(p.question) for p in problems]
    guided_prompts = [student.prompt_ids(p.question, p.strategy) for p in problems if group2]
    both = sample(  # all groups go through the model together
        student,
        autonomous_prompts + guided_prompts,
        [group1] * count + [group2] * len(guided_prompts),
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
    )
    autonomous = both.select(range(count * group1))
    rewards = rewards_of(autonomous, problems, reward).to(student.device)  # (P, G1)
    p_auto = (rewards == 1).float().mean(dim=1)  # (P,)
    lengths = autonomous.mask.sum(dim=1)
    metrics = {
        "reward": rewards.mean().item(),
        "p_auto": p_auto.mean().item(),
        "completion_tokens": lengths.mean().item(),
        "truncated": autonomous.truncated.float().mean().item(),
        "groups_without_signal": (rewards == rewards[:, :1]).all(dim=1).float().mean().item(),
    }
    targets, alpha = None, torch.zeros_like(p_auto)
    if group2:
        guided = both.select(range(count * group1, len(both.rows)))
        guided.rows -= count  # from the prompts sampled together to the problems
        correct = (rewards_of(guided, problems, reward) == 1).to(student.device)  # (P, G2)
        p_guide = correct.float().mean(dim=1)  # (P,)
        if config.fixed_alpha is None:
            alpha = adaptive_weight(p_auto, p_guide, config.alpha0, config.gamma, config.alpha_max)
        else:
            alpha = torch.full_like(p_auto, config.fixed_alpha)
        targets = choose_targets(student, autonomous_prompts, guided, correct, config)
        applied = alpha * correct.any(dim=1) * config.strategy_distillation
        metrics |= {
            "p_guide": p_guide.mean().item(),
            "alpha": alpha.mean().item(),
            "alpha_applied": applied.mean().item(),
            "empty_c": (~correct.any(dim=1)).float().mean().item(),
        }
    else:
        metrics |= {"p_guide": None, "alpha": 0.0, "alpha_applied": 0.0, "empty_c": None}
    old_logps = None
    if config.updates_per_batch > 1:
        with torch.no_grad():
            old_logps, _ = score(
                student, autonomous_prompts, autonomous, temperature=config.temperature
            )
    return Experience(
        problems, autonomous_prompts, guided_prompts, autonomous,
        group_advantages(rewards).flatten(), old_logps, targets, alpha,
        int(both.mask.sum()), metrics,
    )  # fmt: skip


@torch.no_grad()
def choose_targets(
    student: Student,
    autonomous_prompts: list[list[int]],
    guided: Rollouts,
    correct: Tensor,
    config: Config,
) -> Rollouts | None:
    """õ⁺ of every problem with a right guided trajectory, or None where no problem has one.

    correct (P, G2). Scored after the prompt *without* the strategy: the reachable target is the one
    that the unguided student finds likeliest.
    """
    if not config.strategy_distillation or not correct.any():
        return None
    group2 = correct.shape[1]
    candidates = correct.flatten().nonzero().squeeze(1)  # only these have to be scored
    logps = torch.zeros_like(guided.mask)
    if config.select_target:
        scored, _ = score(
            student, autonomous_prompts, guided.select(candidates), temperature=config.temperature
        )
        logps[candidates, : scored.shape[1]] = scored
    else:
        logps[:, 0] = torch.rand(len(logps)).to(logps)  # the highest of random numbers is a draw
    chosen = []
    for problem in range(len(correct)):
        rows = slice(problem * group2, (problem + 1) * group2)
        normalize = config.normalize_target if config.select_target else "sum"
        best = reachable_target(logps[rows], guided.mask[rows], correct[problem], normalize)
        if best is not None:
            chosen.append(problem * group2 + best)
    return guided.select(chosen)


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
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm).item()
        metrics = metrics or measured | {"gradient_norm": norm}
        # A gradient that overflowed because of the scale is no failure: `step` leaves it out.
        finite = math.isfinite(norm) or scaler.get_scale() > 1
        finite = finite and math.isfinite(measured["loss"])
        if finite:
            scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if not finite:
            return metrics, False
    return metrics, True


def accumulate_gradient(
    student: Student,
    experience: Experience,
    config: Config,
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> dict[str, float]:
    """Add the gradient of L = mean over problems of L_GRPO(q) + α(q) · L_KD^clip(q); the metrics.

    In micro-batches of `config.micro_batch` sequences, each with its share of the mean, so that the
    gradient is the same as that of one batch.
    """
    sums = dict.fromkeys(
        ("grpo_loss", "entropy", "distillation_loss", "kl", "masked_by_delta"), 0.0
    )
    rollouts, count = experience.autonomous, len(experience.advantages)
    all_tokens = rollouts.mask.sum()
    for rows in _micro_batches(count, config.micro_batch):
        part = rollouts.select(rows)
        width = part.tokens.shape[1]
        with torch.set_grad_enabled(config.autonomous_grpo):
            logps, entropies = score(
                student, experience.autonomous_prompts, part, temperature=config.temperature
            )
            old = experience.old_logps
            loss = grpo_loss(
                logps,
                logps.detach() if old is None else old[rows, :width],
                experience.advantages[rows],
                part.mask,
                config.clip_low,
                config.clip_high,
            ) * (len(rows) / count)  # the groups are of one size: mean over problems
        if config.autonomous_grpo:
            scale(loss).backward()
            sums["grpo_loss"] += loss.item()
        sums["entropy"] += (entropies.sum() / all_tokens).item()
    targets = experience.targets
    if targets is not None:
        kl_tokens = targets.mask.sum()
        for rows in _micro_batches(len(targets.rows), config.micro_batch):
            part = targets.select(rows)
            kl = strategy_kl(
                student,
                experience.guided_prompts,
                experience.autonomous_prompts,
                part,
                reverse=config.reverse_kl,
            )  # (B, T)
            alpha = experience.alpha[part.rows]
            loss = (alpha * distillation_loss(kl, part.mask, config.delta)).sum()
            loss = loss / len(experience.problems)
            scale(loss).backward()
            sums["distillation_loss"] += loss.item()
            sums["kl"] += (kl.detach().sum() / kl_tokens).item()
            if config.delta is not None:
                sums["masked_by_delta"] += ((kl.detach() > config.delta).sum() / kl_tokens).item()
    return {"loss": sums["grpo_loss"] + sums["distillation_loss"], **sums}


def _micro_batches(count: int, size: int) -> list[list[int]]:
    size = size or count
    return [list(range(start, min(start + size, count))) for start in range(0, count, size)]


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

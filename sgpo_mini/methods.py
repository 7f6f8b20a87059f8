"""One step of each method: sample, choose what to learn from, compute the gradient.

SGPO samples two groups for every problem q: an autonomous group from π(·|q) and a guided group from
π(·|q,s), with the same weights. GRPO trains on the autonomous group. From the guided group, SGPO
takes the correct trajectory that the unguided student finds most likely and distills it into that
student, weighted by how much the strategy helped: L(q) = L_GRPO(q) + α(q) · L_KD^clip(q). Source:
SGPO (arXiv:2606.24064).

The baselines use the same parts. GRPO has only the autonomous group; SFT imitates a given solution
of every problem; LUFFY adds one to the group, with the loss -A · f(π) of its own and no clip on the
rollouts; HPT imitates one when the group fails. Every loss is a mean over problems, solutions and
tokens, so the methods differ in what they learn from, not in how losses are averaged.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import Config
from .losses import (
    adaptive_weight,
    distillation_loss,
    group_advantages,
    grpo_loss,
    negative_log_likelihood,
    policy_shaping_loss,
    reachable_target,
)
from .problems import Problem, Reward
from .rollout import Rollouts, given_rollouts, rewards_of, sample, score, strategy_kl
from .student import Student
from .support.memory import micro_batches

Scale = Callable[[Tensor], Tensor]


@dataclass
class Experience:
    """The training data of one step: P problems, their two groups, their given solutions."""

    problems: list[Problem]
    autonomous_prompts: list[list[int]]
    metrics: dict[str, float | None]
    guided_prompts: list[list[int]] | None = None
    autonomous: Rollouts | None = None  # P · G1
    advantages: Tensor | None = None  # (P · G1,)
    old_logps: Tensor | None = None  # (P · G1, T); None: the weights have not changed
    targets: Rollouts | None = None  # õ⁺ (`choose_targets`); `rows` holds problem numbers
    alpha: Tensor | None = None  # (P,), also of problems without õ⁺
    given: Rollouts | None = None  # given solutions; `rows` holds problem numbers
    given_advantages: Tensor | None = None  # LUFFY; None: plain imitation
    sampled_tokens: int = 0
    rewards: Tensor | None = None  # of every sampled completion, in both groups
    cut_off: tuple[float, ...] = ()  # per group: the share cut off by the length limit


def collect(
    student: Student, problems: list[Problem], config: Config, reward: Reward
) -> Experience:
    """Sample the groups of every problem, compute rewards, and choose what to learn from."""
    group1, group2 = config.group_sizes()
    count = len(problems)
    prompts = [student.prompt_ids(p.question) for p in problems]
    metrics = dict.fromkeys(
        ("reward", "p_auto", "completion_tokens", "truncated", "entropy", "groups_without_signal")
    )
    metrics |= {"p_guide": None, "alpha": 0.0, "alpha_applied": 0.0, "empty_c": None}
    experience = Experience(problems, prompts, metrics)
    if config.method == "sft":
        _give(student, experience, range(count), config)
        return experience
    guided_prompts = [student.prompt_ids(p.question, p.strategy) for p in problems if group2]
    both = sample(  # all groups in one call
        student,
        prompts + guided_prompts,
        [group1] * count + [group2] * len(guided_prompts),
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
    )
    experience.sampled_tokens = int(both.mask.sum())
    experience.guided_prompts = guided_prompts
    autonomous = experience.autonomous = both.select(range(count * group1))
    rewards = rewards_of(autonomous, problems, reward).to(student.device)  # (P, G1)
    experience.rewards = rewards.flatten()
    experience.cut_off = (autonomous.truncated.float().mean().item(),)
    right = rewards >= config.right_reward  # (P, G1)
    p_auto = right.float().mean(dim=1)  # (P,)
    metrics |= {
        "reward": rewards.mean().item(),
        "p_auto": p_auto.mean().item(),
        "completion_tokens": autonomous.mask.sum(dim=1).mean().item(),
        "truncated": experience.cut_off[0],
        "entropy": autonomous.entropies[autonomous.mask.bool()].mean().item(),  # nats a token
        "groups_without_signal": (rewards == rewards[:, :1]).all(dim=1).float().mean().item(),
    }
    advantages = group_advantages(rewards)  # (P, G1)
    if group2:
        guided = both.select(range(count * group1, len(both.rows)))
        guided.rows -= count  # from prompt numbers to problem numbers
        guided_rewards = rewards_of(guided, problems, reward).to(student.device)  # (P, G2)
        experience.rewards = torch.cat([experience.rewards, guided_rewards.flatten()])
        experience.cut_off += (guided.truncated.float().mean().item(),)
        correct = guided_rewards >= config.right_reward  # (P, G2)
        correct[[not p.strategy for p in problems]] = False  # then its group was unguided
        _choose_what_to_distill(student, experience, guided, correct, p_auto, config)
    elif config.method == "luffy":
        _give(student, experience, range(count), config)
        given = rewards_of(experience.given, problems, reward).to(rewards)  # (P, 1)
        whole = group_advantages(torch.cat([rewards, given], dim=1), in_deviations=False)
        advantages, experience.given_advantages = whole[:, :-1], whole[:, -1]
    elif config.method == "hpt":
        failed = right.sum(dim=1) <= config.hpt_gate  # (P,)
        _give(student, experience, failed.nonzero().squeeze(1).tolist(), config)
        advantages = torch.where(failed.unsqueeze(1), 0.0, advantages)  # drop their rollouts
    experience.advantages = advantages.flatten()
    if config.updates_per_batch > 1:
        experience.old_logps = _old_logps(student, experience, config)
    return experience


@torch.no_grad()
def _old_logps(student: Student, experience: Experience, config: Config) -> Tensor:
    """Log-probabilities under the sampling policy, (P · G1, T); 0 where the advantage is 0."""
    logps = torch.zeros_like(experience.autonomous.mask)
    for rows, part in _learnt_rollouts(experience, config):
        scored = score(student, experience.autonomous_prompts, part, temperature=config.temperature)
        logps[rows, : scored.shape[1]] = scored
    return logps


def _learnt_rollouts(experience: Experience, config: Config) -> Iterator[tuple[Tensor, Rollouts]]:
    """Micro-batches (rows, rollouts) of the autonomous rollouts whose advantage is not 0.

    A rollout with advantage 0 has no loss and no gradient: we skip it, but the mean counts it.
    """
    signal = experience.advantages.nonzero().squeeze(1)
    learnt = experience.autonomous.select(signal)
    for places in _micro_batches(experience.autonomous_prompts, learnt, config.micro_batch_tokens):
        yield signal[places], learnt.select(places)


def _give(student: Student, experience: Experience, rows, config: Config) -> None:
    """Add the given solutions of the problems numbered `rows` to the experience."""
    texts = [getattr(experience.problems[row], config.given_solution) for row in rows]
    if texts:
        experience.given = given_rollouts(student, texts, list(rows))
    experience.metrics |= {
        "given_share": len(texts) / len(experience.problems),
        "given_tokens": int(experience.given.mask.sum()) if texts else 0,
    }


def _choose_what_to_distill(
    student: Student,
    experience: Experience,
    guided: Rollouts,
    correct: Tensor,
    p_auto: Tensor,
    config: Config,
) -> None:
    """Set the weight α(q) of every problem and the targets õ⁺; correct (P, G2), p_auto (P,)."""
    p_guide = correct.float().mean(dim=1)  # (P,)
    if config.fixed_alpha is None:
        alpha = adaptive_weight(p_auto, p_guide, config.alpha0, config.gamma, config.alpha_max)
    else:
        alpha = torch.full_like(p_auto, config.fixed_alpha)
    experience.alpha = alpha
    learnt = correct & (alpha > 0).unsqueeze(1)  # (P, G2); where α is 0 a target teaches nothing
    experience.targets = choose_targets(
        student, experience.autonomous_prompts, guided, learnt, config
    )
    applied = alpha * correct.any(dim=1) * config.strategy_distillation
    experience.metrics |= {
        "p_guide": p_guide.mean().item(),
        "alpha": alpha.mean().item(),
        "alpha_applied": applied.mean().item(),
        "empty_c": (~correct.any(dim=1)).float().mean().item(),
    }


@torch.no_grad()
def choose_targets(
    student: Student,
    autonomous_prompts: list[list[int]],
    guided: Rollouts,
    correct: Tensor,
    config: Config,
) -> Rollouts | None:
    """õ⁺ of every problem with a correct guided trajectory, or None if no problem has one.

    correct (P, G2). Candidates are scored after the prompt *without* the strategy: the reachable
    target is the one that the unguided student finds most likely.
    """
    if not config.strategy_distillation or not correct.any():
        return None
    group2 = correct.shape[1]
    logps = torch.zeros_like(guided.mask)
    if config.select_target:
        rivals = correct & (correct.sum(dim=1, keepdim=True) > 1)  # a single one needs no score
        candidates = rivals.flatten().nonzero().squeeze(1)
        if len(candidates):
            part = guided.select(candidates)
            scored = score(student, autonomous_prompts, part, temperature=config.temperature)
            logps[candidates, : scored.shape[1]] = scored
    else:
        logps[:, 0] = torch.rand(len(logps)).to(logps)  # the maximum is a uniform choice
    chosen = []
    for problem in range(len(correct)):
        rows = slice(problem * group2, (problem + 1) * group2)
        normalize = config.normalize_target if config.select_target else "sum"
        best = reachable_target(logps[rows], guided.mask[rows], correct[problem], normalize)
        if best is not None:
            chosen.append(problem * group2 + best)
    return guided.select(chosen)


def accumulate_gradient(
    student: Student, experience: Experience, config: Config, scale: Scale = lambda loss: loss
) -> dict[str, float | None]:
    """Add the gradient of L, the method's mean loss over problems, and return the metrics.

    Each micro-batch of `config.micro_batch_tokens` contributes its share of the mean, so the
    gradient equals that of one batch.
    """
    metrics = {"grpo_loss": 0.0, "distillation_loss": 0.0, "kl": 0.0, "masked_by_delta": 0.0}
    if experience.autonomous is not None and config.autonomous_grpo:
        metrics["grpo_loss"] = _explore(student, experience, config, scale)
    if experience.targets is not None:
        metrics |= _distill(student, experience, config, scale)
    loss = metrics["grpo_loss"] + metrics["distillation_loss"]
    if "given_tokens" in experience.metrics:
        metrics["imitation_loss"] = _imitate(student, experience, config, scale)
        loss += metrics["imitation_loss"]
    return {"loss": loss, **metrics}


def _explore(student: Student, experience: Experience, config: Config, scale: Scale) -> float:
    """Add the gradient of L_GRPO; for LUFFY it is -A · ratio, without a clip. Returns the loss."""
    count = len(experience.advantages)
    if experience.given_advantages is not None:
        count += len(experience.given_advantages)  # given solutions are group members
    luffy = config.method == "luffy"
    clip = (float("inf"),) * 2 if luffy else (config.clip_low, config.clip_high)
    total = 0.0
    for rows, part in _learnt_rollouts(experience, config):

        def objective(logps: Tensor, rows=rows, part=part) -> Tensor:
            moved = experience.old_logps is not None  # else the ratio is 1
            old = experience.old_logps[rows, : logps.shape[1]] if moved else logps.detach()
            loss = grpo_loss(logps, old, experience.advantages[rows], part.mask, *clip)
            return loss * (len(rows) / count)  # equal group sizes: this is the mean over problems

        prompts, temperature = experience.autonomous_prompts, config.temperature
        loss = objective(score(student, prompts, part, temperature=temperature, loss=objective))
        scale(loss).backward()
        total += loss.item()
    return total


def _distill(student: Student, experience: Experience, config: Config, scale: Scale) -> dict:
    """Add the gradient of α · L_KD^clip on the targets õ⁺, or of an ablation: reverse KL, SFT."""
    guided, autonomous = experience.guided_prompts, experience.autonomous_prompts
    targets = experience.targets
    kl_tokens = targets.mask.sum()
    total, kl_sum, masked = 0.0, 0.0, 0.0
    # Guided prompts are the longer ones, so they determine what fits.
    for rows in _micro_batches(guided, targets, config.micro_batch_tokens):
        part = targets.select(rows)

        def objective(values: Tensor, part=part) -> Tensor:
            """(B, T) -> (): of log-probabilities for SFT, else of the KL."""
            if config.sft_on_target:
                losses = negative_log_likelihood(values, part.mask)  # (B,)
            else:
                losses = distillation_loss(values, part.mask, config.delta)
            return (experience.alpha[part.rows] * losses).sum() / len(experience.problems)

        if config.sft_on_target:
            values = score(student, autonomous, part, loss=objective)
        else:
            reverse = config.reverse_kl
            values = strategy_kl(
                student, guided, autonomous, part, reverse=reverse, loss=objective
            )  # (B, T)
            kl_sum += (values.detach().sum() / kl_tokens).item()
            if config.delta is not None:
                masked += ((values.detach() > config.delta).sum() / kl_tokens).item()
        loss = objective(values)
        scale(loss).backward()
        total += loss.item()
    if config.sft_on_target:
        return {"distillation_loss": total, "kl": None, "masked_by_delta": None}
    return {"distillation_loss": total, "kl": kl_sum, "masked_by_delta": masked}


def _imitate(student: Student, experience: Experience, config: Config, scale: Scale) -> float:
    """Add the gradient on given solutions: -A · f(π) for LUFFY, else SFT's -log π."""
    prompts, given = experience.autonomous_prompts, experience.given
    if given is None:  # HPT: every group had enough correct rollouts
        return 0.0
    total, luffy = 0.0, experience.given_advantages is not None
    # In LUFFY a given solution is one member of its group.
    count = len(experience.problems) * (config.group_sizes()[0] + 1 if luffy else 1)
    for rows in _micro_batches(prompts, given, config.micro_batch_tokens):
        part = given.select(rows)
        # LUFFY's π is the sampling policy; SFT trains the model at temperature 1.
        temperature = config.temperature if luffy else 1.0

        def objective(logps: Tensor, rows=rows, part=part) -> Tensor:
            if luffy:
                losses = policy_shaping_loss(logps, experience.given_advantages[rows], part.mask)
            else:
                losses = negative_log_likelihood(logps, part.mask)
            return losses.sum() / count

        loss = objective(score(student, prompts, part, temperature=temperature, loss=objective))
        scale(loss).backward()
        total += loss.item()
    return total


def _micro_batches(prompts: list[list[int]], rollouts: Rollouts, budget: int) -> list[list[int]]:
    """The rows of `rollouts` in batches of at most `budget` tokens, prompts included."""
    completions = rollouts.mask.sum(dim=1).long().tolist()
    rows = zip(rollouts.rows.tolist(), completions, strict=True)
    return micro_batches([(len(prompts[row]), length) for row, length in rows], budget)

"""training.py: the gradient against one written by hand, the loop, its log and its refusals."""

import json
import math
import random
from dataclasses import fields, replace

import pytest
import torch
from small_world import (
    config,
    copy_of,
    even_reward,
    problem,
    problems,
    same_weights,
    weights_of,
)
from torch import Tensor

from sgpo_mini import methods, training
from sgpo_mini.evaluation import evaluate
from sgpo_mini.rollout import rewards_of
from sgpo_mini.student import load_student
from sgpo_mini.support.files import read_rows
from sgpo_mini.training import Config, accumulate_gradient, batch_of_step, collect, train

torch.set_num_threads(1)


@pytest.fixture
def groups(monkeypatch):
    """The groups that `collect` samples, the autonomous one first; it samples both at once."""
    sampled, real = [], methods.sample

    def recording(student, prompts, sizes, **settings):
        both = real(student, prompts, sizes, **settings)
        sizes = torch.as_tensor(sizes).expand(len(prompts)).tolist()
        guided = ["two divides" in student.tokenizer.decode(prompt) for prompt in prompts]
        of_guided = torch.tensor(guided).repeat_interleave(torch.tensor(sizes))
        for wanted in (False, True):
            rows = (of_guided == wanted).nonzero().squeeze(1)
            if len(rows):
                group = both.select(rows)
                group.rows = group.rows.unique(return_inverse=True)[1]  # of the problems
                sampled.append(group)
        return both

    monkeypatch.setattr(methods, "sample", recording)
    return sampled


def gradient_of(student) -> dict[str, Tensor]:
    """The gradient that lies on the student, which is cleared."""
    found = {name: p.grad for name, p in student.model.named_parameters() if p.requires_grad}
    student.model.zero_grad(set_to_none=True)
    return {n: torch.zeros(()) if g is None else g.clone() for n, g in found.items()}


def assert_same_gradient(first, second, tolerance=1e-5):
    """Within 1e-5, and within a thousandth of the largest entry where all are small."""
    largest = max(gradient.abs().max().item() for gradient in first.values())
    assert first.keys() == second.keys() and largest > 0
    for name in first:
        off = (first[name] - second[name]).abs().max().item()
        assert off <= min(tolerance, largest / 1000), f"{name} is off by {off}"


def experience_of(student, settings, seed=0, count=4):
    torch.manual_seed(seed)
    return collect(student, problems(count), settings, even_reward)


# The reference: every sequence alone, without padding or cache, full logits, the paper's formulas.


def logits_of(student, prompt: list[int], completion: list[int]) -> Tensor:
    output = student.model(input_ids=torch.tensor([prompt + completion]), use_cache=False)
    return output.logits[0, len(prompt) - 1 : -1]  # (T, V)


def completions_of(rollouts) -> list[list[int]]:
    lengths = rollouts.mask.sum(dim=1).int().tolist()
    return [row[:n] for row, n in zip(rollouts.tokens.tolist(), lengths, strict=True)]


def logps_of(student, prompt, completion, temperature) -> Tensor:
    log_p = torch.log_softmax(logits_of(student, prompt, completion) / temperature, dim=-1)
    return log_p[range(len(completion)), completion]


def reward_of(rollouts, row, given) -> float:
    return 0.0 if rollouts.truncated[row] else even_reward(rollouts.texts[row], given)


def reference_loss(student, settings, groups, chosen=None) -> tuple[Tensor, Tensor, list]:
    """(L_GRPO, α · L_KD^clip, [õ⁺ of each problem]), both losses as means over the problems.

    groups: the rollouts of both groups; chosen: the õ⁺ to use, where a draw decides.
    """
    autonomous, guided = groups
    size1, size2 = settings.group_sizes()
    exploration, distillation, targets = torch.zeros(()), torch.zeros(()), []
    given = problems(len(autonomous.texts) // size1)
    for i, q in enumerate(given):
        prompt = student.prompt_ids(q.question)
        own = range(i * size1, (i + 1) * size1)
        rewards = [reward_of(autonomous, row, q) for row in own]
        mean = sum(rewards) / size1
        std = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (size1 - 1))
        for row, reward in zip(own, rewards, strict=True):
            completion = completions_of(autonomous)[row]
            logps = logps_of(student, prompt, completion, settings.temperature)
            # At ratio 1 the gradient of the clipped objective is that of -A · mean log π.
            ratio = (logps - logps.detach()).exp()
            advantage = (reward - mean) / (std + 1e-4)
            exploration = exploration - advantage * ratio.mean() / size1 / len(given)

        right = [row for row in range(i * size2, (i + 1) * size2) if reward_of(guided, row, q) == 1]
        p_auto, p_guide = rewards.count(1.0) / size1, len(right) / size2
        alpha = settings.alpha0 * (p_guide - p_auto + settings.gamma) / (p_auto + settings.gamma)
        alpha = min(max(alpha, 0.0), settings.alpha_max)
        if settings.fixed_alpha is not None:
            alpha = settings.fixed_alpha
        if not right or alpha < 1e-6:  # 0 but for rounding
            targets.append(None)
            continue
        candidates = {tuple(completions_of(guided)[row]) for row in right}

        def likelihood(completion, prompt=prompt):
            logps = logps_of(student, prompt, list(completion), settings.temperature)
            total = logps.sum().item()
            return total / len(completion) if settings.normalize_target == "mean" else total

        target = list(chosen[i] if chosen else max(candidates, key=likelihood))
        targets.append(target)
        assert tuple(target) in candidates
        with torch.no_grad():
            g = torch.log_softmax(
                logits_of(student, student.prompt_ids(q.question, q.strategy), target), -1
            )
        a = torch.log_softmax(logits_of(student, prompt, target), -1)
        d = (a.exp() * (a - g) if settings.reverse_kl else g.exp() * (g - a)).sum(-1)  # (T,)
        kept = d if settings.delta is None else d[d.detach() <= settings.delta]
        distillation = distillation + alpha * kept.sum() / len(target) / len(given)
    return exploration, distillation, targets


SWITCHES = [
    {},
    {"delta": None},
    {"delta": 0.05},
    {"fixed_alpha": 0.3},
    {"fixed_alpha": 0.0},
    {"reverse_kl": True},
    {"normalize_target": "sum"},
    {"temperature": 0.7},
    {"alpha0": 2.0, "gamma": 0.5, "alpha_max": 1.5},
    {"autonomous_grpo": False},
    {"autonomous_grpo": False, "delta": None},
    {"strategy_distillation": False},
    {"autonomous_rollouts": 5, "guided_rollouts": 2},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_gradient_is_that_of_the_papers_formulas(student, groups, switch):
    settings = config(**switch)
    experience = experience_of(student, settings)
    measured = accumulate_gradient(student, experience, settings)
    gradient = gradient_of(student)
    exploration, distillation, targets = reference_loss(student, settings, groups)
    loss = exploration * settings.autonomous_grpo + distillation * settings.strategy_distillation
    loss.backward()
    assert_same_gradient(gradient, gradient_of(student))
    assert measured["loss"] == pytest.approx(loss.item(), abs=1e-5)
    if settings.strategy_distillation:
        found = completions_of(experience.targets) if experience.targets else []
        assert found == [t for t in targets if t]
        assert measured["distillation_loss"] == pytest.approx(distillation.item(), abs=1e-5)
    else:
        assert experience.targets is None


def test_grpo_gradient_is_that_of_one_autonomous_group(student, groups):
    settings = config(method="grpo")
    accumulate_gradient(student, experience_of(student, settings), settings)
    gradient = gradient_of(student)
    groups.append(replace(groups[0], truncated=torch.ones_like(groups[0].truncated)))  # no C
    exploration, _, _ = reference_loss(student, settings_of_one_group(settings), groups)
    exploration.backward()
    assert_same_gradient(gradient, gradient_of(student))


def settings_of_one_group(settings: Config) -> Config:
    size = sum((settings.autonomous_rollouts, settings.guided_rollouts))
    return config(autonomous_rollouts=size, guided_rollouts=1)


def test_without_target_selection_a_seeded_draw_among_the_right_ones_decides(student, groups):
    settings = config(select_target=False, guided_rollouts=6)
    chosen = set()
    for _ in range(2):
        groups.clear()
        experience = experience_of(student, settings)
        accumulate_gradient(student, experience, settings)
        gradient = gradient_of(student)
        targets = [None] * 4
        completions = completions_of(experience.targets)
        for row, completion in zip(experience.targets.rows.tolist(), completions, strict=True):
            targets[row] = completion
        sum(reference_loss(student, settings, groups, targets)[:2]).backward()
        assert_same_gradient(gradient, gradient_of(student))
        chosen.add(str(targets))
    assert len(chosen) == 1, "the same seed gave another draw"
    right = rewards_of(groups[1], problems(4), even_reward) == 1
    prompts = [student.prompt_ids(p.question) for p in problems(4)]
    texts = [
        tuple(methods.choose_targets(student, prompts, groups[1], right, settings).texts)
        for _ in range(20)
    ]
    assert len(set(texts)) > 1, "the draw is always the same"


def test_without_strategy_distillation_sgpo_is_grpo_on_the_autonomous_group(student):
    settings = config(strategy_distillation=False)
    experience = experience_of(student, settings)
    assert experience.metrics["alpha"] > 0 and experience.metrics["alpha_applied"] == 0
    gradients = []
    for method in ("sgpo", "grpo"):
        accumulate_gradient(student, experience, replace(settings, method=method))
        gradients.append(gradient_of(student))
    assert_same_gradient(*gradients, tolerance=0)


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("budget", [1, 150])
def test_micro_batches_give_the_gradient_and_metrics_of_one_batch(student, budget, updates):
    whole = config(updates_per_batch=updates)
    experience = experience_of(student, whole)
    expected = accumulate_gradient(student, experience, whole)
    gradient = gradient_of(student)
    measured = accumulate_gradient(student, experience, replace(whole, micro_batch_tokens=budget))
    assert_same_gradient(gradient_of(student), gradient)
    assert measured == pytest.approx(expected, abs=1e-5)


def test_gradient_checkpointing_gives_the_same_gradient_and_rollouts(saved_student, groups):
    settings, gradients = config(), []
    for checkpointing in (False, True):
        student = load_student(saved_student, device="cpu", gradient_checkpointing=checkpointing)
        student.model.train(checkpointing)
        experience = experience_of(student, settings)
        accumulate_gradient(student, experience, settings)
        gradients.append(gradient_of(student))
    assert [rollouts.texts for rollouts in groups[:2]] == [r.texts for r in groups[2:]]
    assert_same_gradient(*gradients)


def test_a_run_with_gradient_checkpointing_ends_near_one_without(saved_student):
    ends = []
    for checkpointing in (False, True):
        student = load_student(saved_student, device="cpu", gradient_checkpointing=checkpointing)
        train(student, problems(), config(learning_rate=1e-5, steps=2), reward=even_reward)
        ends.append(weights_of(student))
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], atol=4e-5, rtol=0)


def test_nothing_is_distilled_where_no_guided_trajectory_is_right(student):
    """With C empty for the last two problems, α counts as 0 there and they have no target."""

    def reward(completion, given):
        return even_reward(completion, given) if given.id in ("p0", "p1") else 0.0

    torch.manual_seed(0)
    settings = config(guided_rollouts=8, fixed_alpha=0.4)
    experience = collect(student, problems(4), settings, reward)
    assert experience.targets.rows.tolist() == [0, 1]
    assert experience.metrics["empty_c"] == 0.5
    assert experience.metrics["alpha"] == pytest.approx(0.4)
    assert experience.metrics["alpha_applied"] == pytest.approx(0.2)


def test_with_every_c_empty_only_grpo_is_left(student):
    settings = config()
    torch.manual_seed(0)
    experience = collect(student, problems(4), settings, lambda text, q: 0.5 * even_reward(text, q))
    measured = accumulate_gradient(student, experience, settings)
    assert experience.targets is None and experience.metrics["alpha_applied"] == 0
    assert measured["distillation_loss"] == measured["kl"] == 0
    assert max(g.abs().max() for g in gradient_of(student).values()) > 1e-2


def test_a_step_that_has_nothing_to_learn_changes_nothing(student):
    before = weights_of(student)
    settings = config(autonomous_grpo=False, steps=2, weight_decay=0.1)
    train(student, problems(), settings, reward=lambda text, q: 0.0)
    assert same_weights(before, weights_of(student))


def test_grpo_spends_all_twelve_rollouts_on_one_group_and_needs_no_strategy(student, groups):
    given = [problem(n, strategy="") for n in range(3)]
    settings = Config(method="grpo", steps=1, problems_per_step=3, max_new_tokens=16)
    train(student, given, settings, reward=even_reward)
    assert [len(rollouts.rows) for rollouts in groups] == [3 * 12]


def test_grpo_does_not_mind_the_words_of_strategies_it_does_not_read(student):
    given = [problem(n, strategy="zebras xylophone quarrel " * 20) for n in range(3)]
    train(student, given, config(method="grpo", steps=1), reward=even_reward)
    with pytest.raises(ValueError, match="xylophone"):
        train(student, given, config(steps=1), reward=even_reward)


def test_only_problems_with_strategies_are_the_same_ones_for_every_method(pretrained):
    """As if the others had not been given."""
    mixed = [replace(p, strategy="") if number % 2 else p for number, p in enumerate(problems())]
    for method in ("sgpo", "grpo"):
        runs = []
        for given, only in ((mixed, True), (mixed[::2], False)):
            settings = config(method=method, steps=2, only_with_strategies=only)
            runs.append(weights_of(train(copy_of(pretrained), given, settings)))
        assert same_weights(*runs)


def test_a_problem_without_a_strategy_can_learn_by_grpo_alone(pretrained):
    """Its guided group has the unguided prompt, and nothing is distilled from it."""
    given, weights = problems(), []
    for strategies, distills in ((False, True), (True, False)):
        told = given if strategies else [replace(p, strategy="") for p in given]
        settings = {"steps": 2, "strategy_distillation": distills, "guided_rollouts": 4}
        settings["grpo_without_strategy"] = not strategies
        rollouts = config(**settings)
        weights.append(weights_of(train(copy_of(pretrained), told, rollouts)))
    assert same_weights(*weights) and not same_weights(weights[0], weights_of(pretrained))


def test_half_of_the_strategies_teach_half_of_the_problems(student):
    given = [replace(p, strategy="" if n % 2 else p.strategy) for n, p in enumerate(problems(4))]
    with pytest.raises(ValueError, match="2 of 4 problems have no strategy"):
        train(student, given, config(steps=1))
    learnt = collect(student, given, config(grpo_without_strategy=True), lambda text, given: 1.0)
    assert set(learnt.targets.rows.tolist()) <= {0, 2}
    assert learnt.alpha.shape == (4,)


def test_sgpo_samples_both_groups(student, groups):
    experience_of(student, Config(max_new_tokens=16))
    assert [len(rollouts.rows) for rollouts in groups] == [4 * 8, 4 * 4]


def test_a_truncated_completion_earns_nothing_and_its_share_is_logged(student, groups):
    settings = config(max_new_tokens=8)
    torch.manual_seed(0)
    experience = collect(student, problems(4), settings, lambda completion, given: 1.0)
    cut = torch.stack([rollouts.truncated.float().mean() for rollouts in groups])
    assert 0 < cut[0] < 1
    assert experience.metrics["truncated"] == pytest.approx(cut[0].item())
    assert experience.metrics["p_auto"] == pytest.approx(1 - cut[0].item())
    assert experience.metrics["p_guide"] == pytest.approx(1 - cut[1].item())


def test_metrics_of_the_distillation_count_tokens(student, groups):
    """Mean KL and share of masked tokens are over the tokens of the distilled trajectories."""
    settings = config(delta=0.05)
    experience = experience_of(student, settings)
    measured = accumulate_gradient(student, experience, settings)
    everything = []
    _, _, targets = reference_loss(student, settings, groups)
    for q, target in zip(problems(4), targets, strict=True):
        if target:
            guided = torch.log_softmax(
                logits_of(student, student.prompt_ids(q.question, q.strategy), target), -1
            )
            own = torch.log_softmax(logits_of(student, student.prompt_ids(q.question), target), -1)
            everything += (guided.exp() * (guided - own)).sum(-1).tolist()
    assert measured["kl"] == pytest.approx(sum(everything) / len(everything), abs=1e-5)
    share = sum(value > 0.05 for value in everything) / len(everything)
    assert 0 < share < 1
    assert measured["masked_by_delta"] == pytest.approx(share)


# Updates


def test_with_one_update_a_batch_the_ratio_is_one(student, monkeypatch):
    ratios, real = [], methods.grpo_loss

    def spy(logps, old_logps, advantages, mask, *clip):
        ratios.append((logps - old_logps).detach().exp()[mask.bool()])
        return real(logps, old_logps, advantages, mask, *clip)

    monkeypatch.setattr(methods, "grpo_loss", spy)
    train(student, problems(), config(steps=2), reward=even_reward)
    assert len(ratios) == 4 and all((ratio == 1).all() for ratio in ratios)
    ratios.clear()
    train(student, problems(), config(steps=1, updates_per_batch=2), reward=even_reward)
    first, second = ratios[1::2]  # of the loss; the one before it was for the head's gradient
    torch.testing.assert_close(first, torch.ones_like(first), atol=1e-4, rtol=0)
    assert (second - 1).abs().max() > 1e-2  # the policy has moved since


def test_each_update_of_a_batch_moves_the_weights(pretrained):
    ends = []
    for updates in (1, 2):
        student = copy_of(pretrained)
        train(student, problems(), config(steps=1, updates_per_batch=updates), reward=even_reward)
        ends.append(weights_of(student))
    assert not same_weights(*ends)
    assert not same_weights(ends[0], weights_of(pretrained))


@pytest.mark.parametrize("method", ["sgpo", "grpo"])
def test_a_step_at_the_papers_learning_rate_changes_float32_weights(student, method):
    before = weights_of(student)
    settings = config(method=method, steps=1, learning_rate=1e-6)
    train(student, problems(), settings, reward=even_reward)
    after = weights_of(student)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert all(tensor.dtype == torch.float32 for tensor in after.values())
    assert changed == set(after)


def test_training_raises_the_reward(student):
    """Not a measurement of the method: the loop climbs where there is an easy way up."""

    def accuracy():
        return evaluate(
            student, problems(), samples=16, temperature=1.0, max_new_tokens=16, reward=even_reward
        ).accuracy

    before = accuracy()
    train(student, problems(), config(steps=25, autonomous_rollouts=8), reward=even_reward)
    assert accuracy() > before + 0.2


# Losses and gradients that are not finite


def poison(monkeypatch, kind: str, calls) -> None:
    """Make the GRPO loss of the chosen updates (from 0) not finite, or its gradient alone.

    An update calls it twice: for the gradient of the head, then for the loss.
    """
    real, count = methods.grpo_loss, iter(range(10**6))

    def poisoned(logps, *rest):
        loss = real(logps, *rest)
        if next(count) // 2 not in calls:
            return loss
        if kind == "gradient":
            return loss + ((logps * 0).sum()).sqrt()  # 0, with the gradient 0 · inf
        return loss * float(kind)

    monkeypatch.setattr(methods, "grpo_loss", poisoned)


@pytest.mark.parametrize("kind", ["nan", "inf", "gradient"])
def test_a_step_that_is_not_finite_is_skipped_and_counted(student, monkeypatch, tmp_path, kind):
    poison(monkeypatch, kind, {0, 2})
    before, seen = weights_of(student), []
    real = training._update

    def watching(*arguments):
        result = real(*arguments)
        seen.append(weights_of(student))
        return result

    monkeypatch.setattr(training, "_update", watching)
    train(student, problems(), config(out=str(tmp_path / "run")), reward=even_reward)
    assert same_weights(before, seen[0])
    assert not same_weights(seen[0], seen[1])
    assert same_weights(seen[1], seen[2])
    assert not same_weights(seen[2], seen[3])
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["skipped_steps"] for row in rows] == [1, 1, 2, 2]
    assert all(tensor.isfinite().all() for tensor in seen[-1].values())


@pytest.mark.parametrize("value", [math.nan, None, math.inf, "1", ZeroDivisionError("of none")])
def test_a_reward_that_fails_on_the_way_loses_no_step_and_the_run_goes_on(
    pretrained, tmp_path, value
):
    """One that passes its trial: the completion was another."""

    def failing(after):
        calls = iter(range(-len(problems()), 10**6))

        def reward(completion, given):
            if next(calls) < after:
                return even_reward(completion, given)
            if isinstance(value, Exception):
                raise value
            return value

        return reward

    student, settings = copy_of(pretrained), config(out=str(tmp_path / "run"), checkpoint_every=99)
    with pytest.raises(
        RuntimeError, match=r"step 3: the reward of .* continue with --resume --out"
    ):
        train(student, problems(), settings, reward=failing(2 * 21 + 5))
    assert len(read_rows(tmp_path / "run" / "metrics.jsonl")) == 2
    train(copy_of(pretrained), problems(), replace(settings, resume=True), reward=even_reward)
    whole = replace(settings, out=str(tmp_path / "whole"))
    train(copy_of(pretrained), problems(), whole, reward=even_reward)
    for name in ("metrics.jsonl", "student/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(RuntimeError, match="step 1: the reward of .* (raised|is) "):
        train(student, problems(), config(), reward=failing(3))


def test_the_log_is_json_also_where_a_loss_is_not_finite(student, monkeypatch, tmp_path):
    def no_json(constant):
        raise AssertionError(f"{constant} is no JSON")

    for kind in ("nan", "inf", "gradient"):
        poison(monkeypatch, kind, {0, 2})
        train(student, problems(), config(out=str(tmp_path / kind)), reward=even_reward)
        lines = (tmp_path / kind / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line, parse_constant=no_json) for line in lines]
        assert [row["gradient_norm"] is None for row in rows] == [True, False, True, False]
        assert [row["loss"] is None for row in rows] == [kind != "gradient", False] * 2
        monkeypatch.undo()


def test_after_five_in_a_row_the_run_stops_with_the_last_good_checkpoint(
    pretrained, monkeypatch, tmp_path
):
    good = copy_of(pretrained)
    train(good, problems(), config(steps=2), reward=even_reward)
    student = copy_of(pretrained)
    poison(monkeypatch, "nan", range(2, 100))
    settings = config(steps=20, checkpoint_every=2, out=str(tmp_path / "run"))
    with pytest.raises(RuntimeError, match="not finite in 5 steps in a row"):
        train(student, problems(), settings, reward=even_reward)
    assert same_weights(weights_of(good), weights_of(student))
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["skipped_steps"] for row in rows] == [0, 0, 1, 2, 3, 4, 5]

    monkeypatch.undo()
    resumed = copy_of(pretrained)
    settings = replace(settings, steps=6, resume=True)
    train(resumed, problems(), settings, reward=even_reward)
    assert same_weights(weights_of(good), weights_of(resumed))  # it had stopped after step 7


def test_four_in_a_row_do_not_stop_a_run(student, monkeypatch, tmp_path):
    poison(monkeypatch, "inf", {0, 1, 2, 3, 5, 6, 7, 8})
    train(student, problems(), config(steps=10, out=str(tmp_path / "run")), reward=even_reward)
    assert read_rows(tmp_path / "run" / "metrics.jsonl")[-1]["skipped_steps"] == 8


def test_the_float16_scalers_own_skips_are_no_failures(student, monkeypatch):
    """An overflow at a large scale is left out and not counted; at scale 1 it is a failure."""
    settings = config()
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126)
    experience = experience_of(student, settings)
    before = weights_of(student)
    metrics, fine = training._update(student, optimizer, scaler, experience, settings)
    assert fine and not math.isfinite(metrics["gradient_norm"])
    assert same_weights(before, weights_of(student)) and scaler.get_scale() == 2.0**125
    scaler.update(1024.0)
    metrics, fine = training._update(student, optimizer, scaler, experience, settings)
    assert fine and math.isfinite(metrics["gradient_norm"])
    assert not same_weights(before, weights_of(student))
    moved = weights_of(student)
    poison(monkeypatch, "gradient", {0})
    scaler.update(1.0)
    assert training._update(student, optimizer, scaler, experience, settings)[1] is False
    assert same_weights(moved, weights_of(student))


def test_the_float16_scaler_bears_a_step_that_has_nothing_to_learn(student):
    settings = config(autonomous_grpo=False)
    experience = collect(student, problems(2), settings, lambda text, q: 0.0)
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu")
    metrics, fine = training._update(student, optimizer, scaler, experience, settings)
    assert fine and metrics["gradient_norm"] == 0


# The configuration, and what is refused before anything starts


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"method": "ppo"}, "one of sgpo, grpo, sft, luffy, hpt, not 'ppo'"),
        ({"normalize_target": "max"}, "sum or mean, not 'max'"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"autonomous_rollouts": 1}, "autonomous_rollouts must be at least 2"),
        ({"guided_rollouts": 0}, "guided_rollouts must be at least 1"),
        ({"micro_batch_tokens": -1}, "micro_batch_tokens must be at least 0"),
        ({"updates_per_batch": 0}, "updates_per_batch must be at least 1"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"learning_rate": -1e-6}, "learning_rate must be above 0"),
        ({"learning_rate": math.inf}, "learning_rate must be above 0 and finite"),
        ({"delta": 0.0}, "delta must be above 0"),
        ({"gamma": 0.0}, "gamma must be above 0"),
        ({"alpha0": math.nan}, "alpha0 must be at least 0"),
        ({"fixed_alpha": -0.1}, "fixed_alpha must be at least 0"),
        ({"autonomous_grpo": False, "strategy_distillation": False}, "nothing is learnt"),
        ({"autonomous_grpo": False, "method": "grpo"}, "nothing is learnt"),
        ({"autonomous_grpo": False, "method": "luffy"}, "nothing is learnt"),
        ({"given_solution": "mine"}, "expert_solution or solution, not 'mine'"),
        ({"hpt_gate": -1}, "hpt_gate must be at least 0"),
        ({"sft_on_target": True, "reverse_kl": True}, "replaces the KL"),
        ({"early_stop": 2}, "set evaluate_every too"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused_and_the_possible_ones_named(changes, told):
    with pytest.raises(ValueError, match=told):
        Config(**changes).check()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"delta": None},
        {"fixed_alpha": 0.0},
        {"method": "grpo"},
        {"threads": 3},
        {"method": "grpo", "guided_rollouts": 0},
    ],
)
def test_possible_settings_pass(changes):
    Config(**changes).check()


def test_the_defaults_are_the_papers():
    default = Config()
    assert (default.autonomous_rollouts, default.guided_rollouts) == (8, 4)
    assert (default.clip_low, default.clip_high, default.delta) == (0.2, 0.28, 1.0)
    assert (default.alpha0, default.gamma, default.alpha_max) == (0.5, 0.1, 0.8)
    assert default.learning_rate == 1e-6


@pytest.mark.parametrize(
    ("given", "changes", "told"),
    [
        ([], {}, "no problems"),
        ([problem(1), problem(2, ""), problem(3, "")], {}, "2 of 3 problems .*'p2' first"),
        ([replace(problem(1), question="zebras play xylophone")], {}, "zebras"),
        (problems(), {"steps": 0}, "steps"),
    ],
    ids=["no problem", "no strategy", "unknown words", "impossible setting"],
)
def test_refusals_come_before_anything_is_written(student, tmp_path, given, changes, told):
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=told):
        train(student, given, config(out=str(out), **changes), reward=even_reward)
    assert not out.exists()


def test_resuming_without_a_folder_is_refused(student):
    with pytest.raises(ValueError, match="resume needs the run's folder"):
        train(student, problems(), config(resume=True))


# The order of the problems


@pytest.mark.parametrize("size", [1, 3, 7, 10, 25])
def test_every_epoch_is_a_permutation_without_gaps(size):
    given = problems(10)
    steps = 10 * size // math.gcd(10, size) // size * 3  # whole epochs, three at least
    stream = [p.id for step in range(steps) for p in batch_of_step(given, size, 0, step)]
    assert len(stream) == steps * size and len(stream) % 10 == 0
    epochs = [stream[i : i + 10] for i in range(0, len(stream), 10)]
    assert all(sorted(epoch) == sorted(p.id for p in given) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_seeds_give_other_orders_and_the_same_seed_the_same():
    orders = {seed: [p.id for p in batch_of_step(problems(10), 10, seed, 0)] for seed in range(5)}
    assert len({tuple(order) for order in orders.values()}) == 5
    assert orders[3] == [p.id for p in batch_of_step(problems(10), 10, 3, 0)]


# The log

METRICS = {
    "step", "loss", "grpo_loss", "distillation_loss", "reward", "p_auto", "p_guide", "alpha",
    "alpha_applied", "kl", "masked_by_delta", "empty_c", "entropy", "completion_tokens",
    "truncated", "gradient_norm", "groups_without_signal", "skipped_steps",
}  # fmt: skip


@pytest.mark.parametrize("method", ["sgpo", "grpo"])
def test_the_log_has_every_field_and_times_have_their_own_file(student, tmp_path, method):
    settings = config(method=method, out=str(tmp_path), evaluate_every=2)
    train(student, problems(), settings, reward=even_reward, validation=problems(4))
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert set(rows[0]) == set(rows[2]) == METRICS
    assert set(rows[1]) == set(rows[3]) == METRICS | {"validation_accuracy"}
    for row in rows:
        assert row["loss"] == pytest.approx(row["grpo_loss"] + row["distillation_loss"])
        assert (row["p_guide"] is None) == (row["empty_c"] is None) == (method == "grpo")
        assert 0 <= row["alpha_applied"] <= row["alpha"] <= 0.8
        assert row["entropy"] > 0 and 1 <= row["completion_tokens"] <= 16
    times = read_rows(tmp_path / "timings.jsonl")
    assert [row["step"] for row in times] == [1, 2, 3, 4]
    for row in times:
        assert row["seconds"] > 0 and row["peak_memory_bytes"] > 10**7
        assert row["sampled_tokens_per_second"] > 0
    saved = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert saved["threads"] == torch.get_num_threads() == 1
    assert set(saved) == {field.name for field in fields(Config)} - {"resume"} | {"digests"}


def test_equal_runs_in_one_process_are_equal_byte_for_byte(pretrained, tmp_path):
    """Whatever torch's and Python's random states were before."""
    for name in ("first", "second"):
        student = copy_of(pretrained)
        settings = config(out=str(tmp_path / name))
        train(student, problems(), settings, reward=even_reward)
        torch.manual_seed(12345)
        random.seed(name)
    for file in ("metrics.jsonl", "student/model.safetensors"):
        first, second = ((tmp_path / name / file).read_bytes() for name in ("first", "second"))
        assert first == second


def test_another_seed_is_another_run(pretrained):
    ends = []
    for seed in (0, 1):
        student = copy_of(pretrained)
        train(student, problems(), config(seed=seed, steps=1), reward=even_reward)
        ends.append(weights_of(student))
    assert not same_weights(*ends)


def test_evaluating_on_the_way_changes_nothing(pretrained):
    ends = []
    for every in (0, 1):
        student = copy_of(pretrained)
        settings = config(steps=2, evaluate_every=every)
        train(student, problems(), settings, reward=even_reward, validation=problems(4))
        ends.append(weights_of(student))
    assert same_weights(*ends)


def test_the_trained_student_is_saved_and_can_be_loaded(student, tmp_path):
    train(student, problems(), config(out=str(tmp_path)), reward=even_reward)
    loaded = load_student(tmp_path / "student", device="cpu")
    assert same_weights(weights_of(student), weights_of(loaded))


def test_lora_trains_the_adapters_alone_and_saves_them_in_pefts_format(saved_student, tmp_path):
    student = load_student(saved_student, device="cpu", lora_rank=4)
    before = weights_of(student)
    settings = config(lora_rank=4, out=str(tmp_path))
    train(student, problems(), settings, reward=even_reward)
    after = weights_of(student)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == {name for name in after if "lora_" in name}
    files = {path.name for path in (tmp_path / "student").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= files
    assert "model.safetensors" not in files
    loaded = load_student(tmp_path / "student", device="cpu")
    assert same_weights(after, weights_of(loaded))

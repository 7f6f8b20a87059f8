"""methods.py: what defines each baseline and each ablation, against formulas written by hand."""

import json
import math
from dataclasses import replace

import pytest
import torch
from small_world import (
    config,
    copy_of,
    even_reward,
    pretrained_student,
    problems,
    same_weights,
    weights_of,
)

from sgpo_mini import methods
from sgpo_mini.methods import accumulate_gradient, collect
from sgpo_mini.rollout import given_rollouts, score
from sgpo_mini.student import new_student
from sgpo_mini.support.files import read_rows
from sgpo_mini.training import solutions_per_step, train

torch.set_num_threads(1)


def given(count: int = 4):
    return [replace(p, expert_solution="#### 2") for p in problems(count)]


def gradient_of(student) -> dict[str, torch.Tensor]:
    found = {
        n: torch.zeros(()) if p.grad is None else p.grad.clone() for n, p in parameters(student)
    }
    student.model.zero_grad(set_to_none=True)
    return found


def parameters(student):
    return [(n, p) for n, p in student.model.named_parameters() if p.requires_grad]


def assert_same_gradient(first, second, tolerance=1e-5):
    largest = max(gradient.abs().max().item() for gradient in first.values())
    assert largest > 100 * tolerance, "the test would see nothing"
    for name in first:
        assert (first[name] - second[name]).abs().max().item() <= tolerance, name


def logps_of(student, question: str, text: str) -> torch.Tensor:
    """One sequence alone, without padding or cache."""
    prompt, completion = student.prompt_ids(question), student.completion_ids(text)
    logits = student.model(input_ids=torch.tensor([prompt + completion])).logits[0]
    log_p = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    return log_p[range(len(completion)), completion]


def experience_of(student, settings, given_problems=None, reward=even_reward):
    torch.manual_seed(0)
    return collect(student, given_problems or given(), settings, reward)


def own_loss(student, experience, weight) -> torch.Tensor:
    """Σ over own rollouts of weight(A, log π) averaged over their tokens."""
    logps = score(student, experience.autonomous_prompts, experience.autonomous)
    mask = experience.autonomous.mask
    losses = weight(experience.advantages.unsqueeze(1), logps) * mask
    return (losses.sum(dim=1) / mask.sum(dim=1)).sum()


def test_rollouts_without_an_advantage_cost_nothing_and_change_nothing(student, monkeypatch):
    """Groups that all fail or all succeed have no gradient, so they are not computed."""
    settings = config(method="grpo", max_new_tokens=40)  # 7 rollouts
    experience = experience_of(student, settings, reward=right_rollouts(0, 3, 7, 5))
    read, real = [], methods.score

    def recording(student, prompts, rollouts, **more):
        read.extend(rollouts.rows.tolist())
        return real(student, prompts, rollouts, **more)

    monkeypatch.setattr(methods, "score", recording)
    measured = accumulate_gradient(student, experience, settings)
    gradient = gradient_of(student)
    assert set(read) == {1, 3} and len(read) == 14
    loss = own_loss(student, experience, lambda a, logp: -a * (logp - logp.detach()).exp()) / 28
    loss.backward()
    assert_same_gradient(gradient, gradient_of(student))
    assert measured["loss"] == pytest.approx(loss.item(), abs=1e-6)


def test_where_no_group_has_a_signal_nothing_is_learnt(student):
    settings = config(method="grpo", max_new_tokens=40, steps=2)
    before = weights_of(student)
    train(student, problems(4), settings, reward=lambda text, given_problem: 0.0)
    assert same_weights(weights_of(student), before)


# SFT


@pytest.mark.parametrize("kind", ["expert_solution", "solution"])
def test_sft_learns_the_given_solution_of_the_chosen_kind_and_samples_nothing(
    student, monkeypatch, kind
):
    monkeypatch.setattr(methods, "sample", None)
    settings = config(method="sft", given_solution=kind)
    experience = experience_of(student, settings)
    measured = accumulate_gradient(student, experience, settings)
    gradient = gradient_of(student)
    loss = -sum(logps_of(student, p.question, getattr(p, kind)).mean() for p in given()) / 4
    loss.backward()
    assert_same_gradient(gradient, gradient_of(student))
    assert measured["loss"] == measured["imitation_loss"] == pytest.approx(loss.item(), abs=1e-5)
    tokens = sum(len(student.completion_ids(getattr(p, kind))) for p in given())
    assert experience.metrics["given_tokens"] == tokens and experience.sampled_tokens == 0


def test_methods_that_imitate_learn_no_notes_unless_asked(tmp_path, monkeypatch):
    from sgpo_mini import training

    seen, real = [], training.collect

    def spy(student, batch, *others):
        seen.extend(problem.solution for problem in batch)
        return real(student, batch, *others)

    monkeypatch.setattr(training, "collect", spy)
    noted = [replace(p, solution="I take <<1+1=2>>2 . #### 2") for p in problems()]
    texts = [text for p in noted for text in (p.question, p.strategy, p.solution)]
    student = new_student([*texts, "#### 2"], layers=1, width=32)
    for method, keep, text in (
        ("sft", False, "I take 2 . #### 2"),
        ("sft", True, "I take <<1+1=2>>2 . #### 2"),
        ("luffy", False, "I take 2 . #### 2"),
        ("sgpo", False, "I take <<1+1=2>>2 . #### 2"),  # it imitates none, so all stay as they are
    ):
        seen.clear()
        settings = config(method=method, steps=1, given_solution="solution")
        train(student, noted, replace(settings, calculation_notes=keep))
        assert set(seen) == {text}
    # A run of an earlier version learnt the notes, and had no setting for them.
    settings = config(method="sft", steps=1, given_solution="solution", out=str(tmp_path / "run"))
    first, *others = (copy_of(student) for _ in range(3))
    train(first, noted, replace(settings, calculation_notes=True))
    path = tmp_path / "run" / "config.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert saved.pop("calculation_notes") is True
    path.write_text(json.dumps(saved), encoding="utf-8")
    settings = replace(settings, steps=2, resume=True)
    with pytest.raises(ValueError, match=r"other settings: calculation_notes \(was True\)"):
        train(others[0], noted, settings)
    train(others[1], noted, replace(settings, calculation_notes=True))


def test_sft_learns_as_many_solutions_or_tokens_as_the_others_sample(student):
    settings = config(method="sft")  # 3 problems of 4 + 3 rollouts
    assert solutions_per_step(student, given(), settings) == 21
    length = len(student.completion_ids("#### 2"))
    settings = replace(settings, sft_tokens_per_step=30 * length)
    assert solutions_per_step(student, given(), settings) == 30


def test_early_stopping_ends_with_the_weights_that_were_best_on_validation(
    student, monkeypatch, tmp_path
):
    from sgpo_mini import training

    accuracies, seen = iter([0.1, 0.5, 0.5, 0.3, 0.9]), []

    class Measured:
        def __init__(self, student):
            seen.append(weights_of(student))
            self.accuracy = next(accuracies)

    monkeypatch.setattr(training, "evaluate", lambda student, *a, **k: Measured(student))
    settings = config(method="sft", steps=10, evaluate_every=1, early_stop=2, out=str(tmp_path))
    train(student, given(), settings, validation=problems(2))
    assert len(seen) == 4, "two measurements without a new best end the run; an equal is none"
    assert same_weights(weights_of(student), seen[1])
    assert not same_weights(seen[1], seen[3])
    # Resumed after its end, it stays there; the best is read back.
    again = copy_of(pretrained_student())
    train(again, given(), replace(settings, resume=True), validation=problems(2))
    assert len(seen) == 4 and same_weights(weights_of(again), seen[1])
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 4
    with pytest.raises(ValueError, match="give validation problems"):
        train(again, given(), replace(settings, out=""))


# LUFFY


def luffy_reference(student, experience, group_size: int) -> torch.Tensor:
    """Its advantages by hand: reward - mean over the group of own rollouts and the given one."""
    total = torch.zeros(())
    own = group_size - 1
    for i, p in enumerate(experience.problems):
        texts = experience.autonomous.texts[i * own : (i + 1) * own]
        cut = experience.autonomous.truncated[i * own : (i + 1) * own].tolist()
        rewards = [0.0 if c else even_reward(t, p) for t, c in zip(texts, cut, strict=True)]
        rewards.append(even_reward(p.expert_solution, p))
        advantages = [r - sum(rewards) / group_size for r in rewards]
        rows = slice(i * own, (i + 1) * own)
        assert experience.advantages[rows].tolist() == pytest.approx(advantages[:-1], abs=1e-6)
        pi = logps_of(student, p.question, p.expert_solution).exp()
        total = total - (advantages[-1] * pi / (pi + 0.1)).mean()
    # On own tokens -A · ratio, whose gradient at ratio 1 is that of -A · log π.
    total = total + own_loss(student, experience, lambda a, logp: -a * (logp - logp.detach()).exp())
    return total / group_size / len(experience.problems)


@pytest.mark.parametrize("budget", [0, 100])
def test_luffys_gradient_is_that_of_eleven_own_rollouts_and_one_given_solution(student, budget):
    settings = config(method="luffy", autonomous_rollouts=8, guided_rollouts=4)
    settings = replace(settings, micro_batch_tokens=budget)
    experience = experience_of(student, settings)
    student.model.double()
    assert len(experience.autonomous.rows) == 4 * 11 and len(experience.given.rows) == 4
    assert 0 < experience.metrics["p_auto"] < 1
    measured = accumulate_gradient(student, experience, settings)
    gradient = gradient_of(student)
    loss = luffy_reference(student, experience, 12)
    loss.backward()
    assert loss.dtype == torch.float64  # but for the advantages, which are float32
    assert_same_gradient(gradient, gradient_of(student), tolerance=1e-8)
    assert measured["loss"] == pytest.approx(loss.item(), abs=1e-7)


def test_luffys_gradient_on_the_given_solution_alone(student):
    """-A · f(π) by hand, token by token: no other part of the step may hide it."""
    settings = config(method="luffy", autonomous_rollouts=8, guided_rollouts=4)
    experience = experience_of(student, settings)
    student.model.double()
    given_advantages = experience.given_advantages.double()
    assert given_advantages.abs().min() > 0
    experience.advantages.zero_()  # own rollouts teach nothing now
    accumulate_gradient(student, experience, settings)
    gradient = gradient_of(student)
    for i, p in enumerate(experience.problems):
        logps = logps_of(student, p.question, p.expert_solution)
        # d f(π) / d log π = 0.1 π / (π + 0.1)², the weight of each token's score function.
        pi = logps.detach().exp()
        weights = -given_advantages[i] * 0.1 * pi / (pi + 0.1) ** 2 / len(pi)
        (weights * logps).sum().backward(retain_graph=False)
    for parameter in student.model.parameters():
        parameter.grad /= 12 * len(experience.problems)
    # Norms and rotary positions stay float32 in the model.
    assert_same_gradient(gradient, gradient_of(student), tolerance=2e-8)


def test_luffy_learns_from_the_given_solution_where_every_own_rollout_is_wrong(student):
    def only_given(text, given_problem):
        return float(text == given_problem.expert_solution)

    settings = config(method="luffy")
    p = [replace(q, expert_solution="I take 2 because two divides it . #### 2") for q in given()]
    experience = experience_of(student, settings, p, only_given)
    assert (experience.given_advantages > 0.8).all() and (experience.advantages < 0).all()


def test_luffys_own_rollouts_have_no_clip(student, monkeypatch):
    clips, real = [], methods.grpo_loss
    monkeypatch.setattr(methods, "grpo_loss", lambda *a: clips.append(a[4:]) or real(*a))
    for method, clip in (("luffy", (math.inf, math.inf)), ("grpo", (0.2, 0.28))):
        clips.clear()
        settings = config(method=method)
        accumulate_gradient(student, experience_of(student, settings), settings)
        assert set(clips) == {clip}, "in every call: the loss is also asked for the head's gradient"


# HPT


def right_rollouts(*counts):
    """A reward that finds so many rollouts of each problem right, in the order of asking."""
    asked = dict.fromkeys(f"p{n}" for n in range(len(counts)))

    def reward(text, given_problem):
        number = int(given_problem.id[1:])
        asked[given_problem.id] = (asked[given_problem.id] or 0) + 1
        return float(asked[given_problem.id] <= counts[number])

    return reward


@pytest.mark.parametrize(("gate", "imitated"), [(0, [0]), (2, [0, 1, 2]), (7, [0, 1, 2, 3])])
def test_hpt_imitates_where_at_most_gate_rollouts_are_right_and_explores_elsewhere(
    student, gate, imitated
):
    settings = config(method="hpt", hpt_gate=gate, max_new_tokens=40)  # 7 rollouts
    experience = experience_of(student, settings, reward=right_rollouts(0, 1, 2, 5))
    assert not experience.autonomous.truncated.any()
    assert experience.given.rows.tolist() == imitated
    assert experience.metrics["given_share"] == len(imitated) / 4
    used = experience.advantages.view(4, 7).abs().amax(dim=1) > 0
    assert used.tolist() == [i not in imitated for i in range(4)]

    accumulate_gradient(student, experience, settings)
    gradient = gradient_of(student)
    loss = own_loss(student, experience, lambda a, logp: -a * (logp - logp.detach()).exp()) / 28
    for row in imitated:
        p = experience.problems[row]
        loss = loss - logps_of(student, p.question, p.expert_solution).mean() / 4
    loss.backward()
    assert_same_gradient(gradient, gradient_of(student))


def test_hpt_is_grpo_where_every_group_passes_the_gate(student):
    gradients = []
    for method in ("hpt", "grpo"):
        settings = config(method=method)
        experience = experience_of(student, settings, reward=right_rollouts(1, 2, 3, 4))
        assert experience.given is None
        accumulate_gradient(student, experience, settings)
        gradients.append(gradient_of(student))
    assert all(torch.equal(gradients[0][name], gradients[1][name]) for name in gradients[0])


@pytest.mark.parametrize("method", ["sft", "luffy", "hpt"])
def test_a_method_that_imitates_refuses_problems_without_a_solution(student, method):
    told = "4 of 4 problems have no expert_solution, 'p0' first, and .* given_solution=solution"
    with pytest.raises(ValueError, match=told):
        train(student, problems(4), config(method=method), reward=even_reward)
    odd = [replace(p, expert_solution="zebras play xylophone") for p in problems(4)]
    with pytest.raises(ValueError, match="zebras"):
        train(student, odd, config(method=method), reward=even_reward)


def test_given_solutions_end_with_the_stop_token_and_are_padded(student):
    rollouts = given_rollouts(student, ["#### 2", "I take 2 . #### 2"], [1, 0])
    lengths = rollouts.mask.sum(dim=1).long().tolist()
    for row, length, text in zip(rollouts.tokens.tolist(), lengths, rollouts.texts, strict=True):
        assert row[:length] == student.completion_ids(text)
        assert row[length - 1] == student.stop_ids[0]
    assert lengths[0] < lengths[1] and not rollouts.truncated.any()


# Ablations of SGPO


def test_without_autonomous_grpo_both_groups_are_sampled_and_weigh_the_distillation(student):
    settings = config(autonomous_grpo=False)
    experience, whole = experience_of(student, settings), experience_of(student, config())
    assert len(experience.autonomous.rows) == 16
    assert torch.equal(experience.alpha, whole.alpha) and experience.alpha.max() > 0
    measured = accumulate_gradient(student, experience, settings)
    assert measured["grpo_loss"] == 0 and measured["loss"] == measured["distillation_loss"] > 0


def test_sft_on_the_targets_is_their_weighted_log_likelihood_without_the_strategy(student):
    settings = config(sft_on_target=True, autonomous_grpo=False, delta=0.05)
    experience = experience_of(student, settings)
    measured = accumulate_gradient(student, experience, settings)
    gradient = gradient_of(student)
    logps = score(student, experience.autonomous_prompts, experience.targets)
    mask = experience.targets.mask
    means = -(logps * mask).sum(dim=1) / mask.sum(dim=1)
    loss = (experience.alpha[experience.targets.rows] * means).sum() / 4
    loss.backward()
    assert_same_gradient(gradient, gradient_of(student))
    assert measured["distillation_loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert measured["kl"] is None and measured["masked_by_delta"] is None


def test_problems_of_weight_zero_have_no_target(student):
    """α is 0 where the strategy does harm: its trajectories are neither scored nor learnt."""
    # Four autonomous rollouts, then three guided ones: p0 and p1 are solved alone, and once with
    # the strategy; p2 and p3 only with it.
    right = {"p0": [1, 1, 1, 1, 1, 0, 0], "p2": [0, 0, 0, 0, 1, 1, 1]}
    rewards = {
        name: iter(right["p0" if name < "p2" else "p2"]) for name in ("p0", "p1", "p2", "p3")
    }
    settings = config(alpha0=1.0, max_new_tokens=40)
    experience = experience_of(student, settings, reward=lambda text, q: float(next(rewards[q.id])))
    assert experience.alpha[:2].tolist() == [0, 0] and (experience.alpha[2:] > 0).all()
    assert experience.targets.rows.tolist() == [2, 3]

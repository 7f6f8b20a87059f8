"""diagnostics.py: what a person must know while a run goes on is told once, and nothing else is."""

import math
from dataclasses import replace

import pytest
import torch
from small_world import config, even_reward, problems

from sgpo_mini.evaluation import evaluate
from sgpo_mini.strategy_sources.measure import measure_strategies
from sgpo_mini.support.diagnostics import Diagnostics
from sgpo_mini.training import train

torch.set_num_threads(1)


@pytest.fixture
def told(capsys):
    """The sentences on standard error so far."""

    def read() -> list[str]:
        lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
        return [line for line in lines if line.startswith("sgpo_mini: ")]

    return read


def never_ending(student):
    """It would have to end with padding, which it never writes: every completion is cut off."""
    return replace(student, stop_ids=(student.pad_id,))


def given():
    return [replace(p, expert_solution="#### 2") for p in problems()]


def after(steps, reward=0.0, cut_off=0.0, learnt=True, of=100, guided_cut_off=None, **settings):
    """Diagnostics after so many equal steps of a run of `of`; rewards: one number or a list."""
    cut_off = (cut_off,) if guided_cut_off is None else (cut_off, guided_cut_off)
    diagnostics, rewards = Diagnostics(), torch.tensor(reward).reshape(-1).float()
    for number in range(1, steps + 1):
        last = number == of
        diagnostics.after_step(number, rewards, cut_off, learnt, config(**settings), last)
    return diagnostics


@pytest.mark.parametrize("method", ["sgpo", "grpo", "luffy", "hpt"])
def test_where_everything_is_cut_off_the_first_step_tells_it_and_no_other_does(
    student, told, method
):
    train(never_ending(student), given(), config(method=method, max_new_tokens=4, steps=8))
    (sentence,) = told()
    silent = 1 if method in ("sgpo", "grpo") else 0  # the others learn a given solution
    groups = "autonomous and 100% of the guided " if method == "sgpo" else ""
    assert sentence == (
        f"sgpo_mini: up to step 1, 100% of the {groups}completions were cut off at "
        f"max_new_tokens=4 and earned 0, and {silent} of 1 steps had nothing to learn: raise it "
        "(--max-new-tokens), or use a student that ends its answers"
    )


def test_the_command_line_tells_it_too(run, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ("train", "--method", "grpo", "--max-new-tokens", 4, "--steps", 2)
    status, out, err = run(*asked, "--problems-per-step", 2)
    assert (status, out) == (0, "trained student: runs/grpo-0/student\n")
    assert "100% of the completions were cut off at max_new_tokens=4" in err
    status, out, err = run("evaluate", "--limit", 30, "--max-new-tokens", 4)
    assert status == 0
    for name in ("unguided", "guided"):
        assert f"\n{name}: 100.0% of the completions were cut off at 4 tokens" in f"\n{out}"
        assert f"sgpo_mini: {name} evaluation: 100% of 30 completions were cut off at" in err


def test_evaluate_prints_the_share_that_was_cut_off_also_where_it_is_small(
    run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    told = "guided: 0.0% of the completions were cut off at 64 tokens and count as wrong\n"
    for split in ((), ("--split", "test")):
        status, out, err = run("evaluate", "--limit", 10, "--prompt", "guided", *split)
        assert status == 0 and "cut off" not in err and told in out


@pytest.mark.parametrize("share", [0.5, 0.7, 0.99])
def test_a_large_share_is_told_after_five_steps_or_at_the_end(told, share):
    after(4, [1.0, 0.0], share)
    assert told() == []
    after(5, [1.0, 0.0], share)
    (sentence,) = told()
    assert f"up to step 5, {share:.0%} of the completions were cut off" in sentence
    assert "0 of 5 steps had nothing to learn" in sentence
    after(2, [1.0, 0.0], share, of=2)
    assert f"up to step 2, {share:.0%}" in told()[0]
    after(60, [1.0, 0.0], share)
    assert len(told()) == 1


def test_a_small_share_is_not_told(told):
    after(50, [1.0, 0.0], 0.45)
    after(50, [1.0, 0.0], 0.45, guided_cut_off=0.45)
    assert told() == []


def test_a_guided_group_that_is_cut_off_is_told_though_the_autonomous_one_is_not(told):
    after(4, [1.0, 0.0], 0.1, guided_cut_off=1.0)  # a group may be of one
    assert told() == []
    after(5, [1.0, 0.0], 0.1, guided_cut_off=1.0)
    assert "10% of the autonomous and 100% of the guided completions were cut off" in told()[0]


def test_five_steps_without_a_signal_are_told_with_what_to_change(told):
    after(5, [0.0, 0.0], cut_off=0.1, learnt=False)
    assert told() == [
        "sgpo_mini: up to step 5, 5 of 5 steps had nothing to learn: every group's rewards are all "
        "equal and nothing is distilled (mean reward 0; 10% of the completions were cut off): use "
        "easier problems, a student that was warmed up on solutions, larger groups or a higher "
        "temperature"
    ]
    after(5, [1.0, 1.0], learnt=False, method="grpo")
    (sentence,) = told()
    assert "equal (mean reward 1; 0%" in sentence and "use harder problems, or stop" in sentence
    after(5, [0.0, 0.0], learnt=False, autonomous_grpo=False)
    assert "had nothing to learn: nothing is distilled (mean" in told()[0]
    after(4, learnt=False)
    assert told() == []


def test_one_step_with_a_signal_among_the_last_five_is_enough(told):
    diagnostics, rewards = Diagnostics(), torch.zeros(4)
    for number in range(1, 41):
        diagnostics.after_step(number, rewards, (0.0,), number % 5 == 0, config(), False)
    assert told() == []
    for number in range(41, 46):
        diagnostics.after_step(number, rewards, (0.0,), False, config(), False)
    assert "up to step 45, 5 of 5 steps had nothing to learn" in told()[0]


def test_a_run_shorter_than_five_steps_tells_at_its_end(student, told):
    train(student, problems(), config(method="grpo", steps=2), reward=lambda text, given: 0.0)
    (sentence,) = told()
    assert "up to step 2, 2 of 2 steps had nothing to learn" in sentence


def test_a_run_in_which_all_is_well_says_nothing(student, told):
    train(student, problems(), config(steps=6), reward=even_reward)
    assert told() == []


def test_sft_samples_nothing_and_tells_nothing(student, told):
    train(student, given(), config(method="sft", max_new_tokens=1))
    assert told() == []


# What is right


@pytest.mark.parametrize("bonus", [0.0, 0.1, 1.0, 7.5])
def test_a_bonus_on_a_right_completion_changes_neither_p_guide_nor_what_is_distilled(
    student, told, bonus
):
    """A bonus that all get also leaves the advantages, and so the whole run, as they were."""
    from sgpo_mini.methods import collect

    def shares(reward, **changes):
        torch.manual_seed(0)
        experience = collect(student, problems(4), config(**changes), reward)
        names = ("p_auto", "p_guide", "alpha", "empty_c")
        return [experience.metrics[name] for name in names], experience.targets.texts

    plain = shares(even_reward)
    assert plain[0][1] > 0

    def with_bonus(text, q):
        return even_reward(text, q) * (1 + bonus)

    assert shares(with_bonus) == plain
    scaled = shares(lambda text, q: 0.2 * even_reward(text, q) + 0.1, right_reward=0.3)
    assert scaled == plain
    train(student, problems(), config(), reward=with_bonus)
    assert told() == []


@pytest.mark.parametrize(
    ("reward", "highest"),
    [
        (lambda text, q: 0.9 * even_reward(text, q), "0.9"),
        (lambda text, q: 0.2 + 0.1 * even_reward(text, q), "0.3"),
        (lambda text, q: even_reward(text, q) - 1, "0"),
    ],
)
def test_where_nothing_counts_as_right_though_rewards_are_given_that_is_told(
    student, told, reward, highest
):
    train(student, problems(), config(), reward=reward)
    (sentence,) = told()
    assert sentence == (
        f"sgpo_mini: up to step 4, no completion of 4 steps counted as right although rewards "
        f"reached {highest}, so p_guide stays 0 and SGPO distils nothing: a completion is right "
        "from right_reward=1; set it to what your reward gives a right completion"
    )


def test_with_the_threshold_set_it_is_not_told(student, told):
    settings = config(right_reward=0.9)
    train(student, problems(), settings, reward=lambda text, q: 0.9 * even_reward(text, q))
    assert told() == []


def test_what_it_means_depends_on_the_method(told):
    after(5, [0.5, 0.0], method="grpo")
    assert "so p_auto stays 0: a completion" in told()[0]
    after(5, [0.5, 0.0], method="hpt")
    assert "so HPT imitates the given solution of every problem: a completion" in told()[0]
    after(5, [0.0, 0.0])  # no rewards: that is no question of what is right
    after(5, [0.5, 1.0])
    assert told() == []


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_a_threshold_that_a_cut_off_completion_would_reach_is_refused(student, wrong):
    with pytest.raises(ValueError, match="right_reward must be above 0"):
        config(right_reward=wrong).check()
    if wrong != math.inf:
        with pytest.raises(ValueError, match="right_reward must be above 0"):
            evaluate(student, problems(), right_reward=wrong)


# Evaluations


def test_an_evaluation_tells_while_it_goes_on_and_once(student, told, monkeypatch):
    from sgpo_mini import evaluation

    told_before, real = [], evaluation.sample

    def sampling(*arguments, **settings):
        told_before.append(len(told()))
        return real(*arguments, **settings)

    monkeypatch.setattr(evaluation, "sample", sampling)
    result = evaluate(never_ending(student), problems(), max_new_tokens=4, batch_size=1)
    assert result.cut_off == 1.0 and result.accuracy == 0.0
    assert told() == [
        "sgpo_mini: unguided evaluation: 100% of 10 completions were cut off at max_new_tokens=4 "
        "and count as wrong: raise it (--max-new-tokens), or use a student that ends its answers"
    ]
    many = {"samples": 4, "temperature": 1.0, "max_new_tokens": 4, "batch_size": 4}
    told_before.clear()
    evaluate(never_ending(student), problems(), **many)
    assert told_before == [0] * 5 + [1] + [0] * 4  # after 20 completions


def test_an_evaluation_in_which_no_reward_is_high_enough_says_so(student, told):
    asked = {"samples": 4, "temperature": 1.0, "max_new_tokens": 40}
    half = evaluate(student, problems(), reward=lambda t, q: even_reward(t, q) / 2, **asked)
    assert half.accuracy == 0 and told() == [
        "sgpo_mini: unguided evaluation: no completion counted as right although rewards reached "
        "0.5: a completion is right from right_reward=1"
    ]
    asked |= {"reward": lambda t, q: even_reward(t, q) / 2, "right_reward": 0.5}
    assert evaluate(student, problems(), **asked).accuracy > 0
    evaluate(student, problems(), max_new_tokens=40, reward=lambda t, q: 0.0)
    assert told() == []


def test_an_evaluation_that_cuts_little_off_says_nothing(student, told):
    assert evaluate(student, problems(), max_new_tokens=40).cut_off < 0.5
    assert told() == []


def test_validation_on_the_way_is_told_once_in_a_run(student, told):
    settings = config(method="sft", steps=4, evaluate_every=1, max_new_tokens=4)
    train(never_ending(student), given(), settings, validation=problems(4))
    (sentence,) = told()
    assert sentence.startswith("sgpo_mini: unguided evaluation: 100% of 4 completions")


def test_each_prompt_of_a_measurement_is_told(student, told):
    measure_strategies(
        never_ending(student),
        [*problems(5), replace(problems(6)[5], strategy="Choose 2 .")],
        samples=2,
        max_new_tokens=4,
    )
    names = [sentence.split()[1] for sentence in told()]
    assert names == ["unguided", "guided"]

"""What of the wing needs no TRL: data, rewards, the share-out of targets, the missing extra."""

import subprocess
import sys

import pytest
import torch

from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.problems import Problem
from sgpo_mini.scale import as_reward_function, to_dataset
from sgpo_mini.scale.data import guided_messages
from sgpo_mini.scale.distillation import choose, padded, share_out
from sgpo_mini.strategies import autonomous_prompt, guided_prompt


def test_a_row_has_the_prompt_without_the_strategy_and_the_texts():
    problem = make_problems("train")[0]
    row = to_dataset([problem])[0]
    assert row["prompt"] == autonomous_prompt(problem.question)
    assert (row["strategy"], row["answer"]) == (problem.strategy, problem.answer)
    assert row["strategy"] not in row["prompt"][0]["content"]
    assert (row["id"], row["question"]) == (problem.id, problem.question)


def test_no_problems_are_refused():
    with pytest.raises(ValueError, match="no problems"):
        to_dataset([])


@pytest.mark.parametrize("question", ["How many?", "", "One.\n\nTwo?", "Strategy:\nmine\n\nWhy?"])
def test_a_guided_prompt_is_that_of_our_loop(question):
    strategy = "Problem type: sums\nApproach: add\nSteps:\n- Add"
    messages = guided_messages(autonomous_prompt(question), strategy)
    assert messages == guided_prompt(question, strategy)


def test_the_strategy_goes_to_the_end_of_other_prompts():
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    guided = guided_messages(prompt, "Add.")
    assert guided[0] == prompt[0]
    assert guided[1] == {"role": "user", "content": "1 + 1?\n\nStrategy:\nAdd."}
    assert prompt[1]["content"] == "1 + 1?"


def test_a_reward_of_ours_reads_completions_and_columns():
    rewards = as_reward_function()
    chat = [[{"role": "assistant", "content": f"#### {number}"}] for number in (2, 3, 2)]
    assert rewards(completions=chat, answer=["2", "2", "2"], prompts=[], id=["a", "b", "c"]) == [
        1.0,
        0.0,
        1.0,
    ]
    assert rewards(completions=["#### 2"], answer=["2"]) == [1.0]
    assert rewards(completions=chat, answer=["2"] * 3, truncated=[True, False, False]) == [0, 0, 1]


def test_a_reward_of_ours_gets_the_whole_problem():
    seen = []

    def reward(completion: str, problem: Problem) -> float:
        seen.append(problem)
        return 0.5

    problem = make_problems("train")[7]
    columns = {name: [value] for name, value in to_dataset([problem])[0].items()}
    assert as_reward_function(reward)(completions=["x"], **columns) == [0.5]
    assert seen[0] == Problem(**{**vars(problem), "plan": ()})
    assert as_reward_function(reward).__name__ == "reward"


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 3, 8, 17])
def test_every_target_is_learnt_once_and_processes_stay_in_step(processes, steps, count):
    problems = [3 * number for number in range(count)]
    table = share_out(problems, processes, steps)
    assert len(table) == steps
    seats = [seat for rows in table if rows for row in rows for seat in row]
    assert sorted(seat for seat in seats if seat is not None) == problems
    for rows in filter(None, table):
        assert len(rows) == processes
        assert len({len(row) for row in rows}) == 1
        assert any(seat is not None for row in rows for seat in row)
    in_step = [sum(s is not None for row in rows or [] for s in row) for rows in table]
    assert max(in_step) - min(in_step) <= processes


def test_the_target_is_the_likeliest_right_completion_of_its_problem():
    logps = torch.tensor([[-1.0, -9.0], [-1.0, -1.0], [-2.0, -2.0], [-3.0, 0.0]])
    mask = torch.tensor([[1, 0], [1, 1], [1, 1], [1, 0]])
    correct = torch.tensor([[True, True], [True, False]])
    assert choose(logps, mask, correct, "mean") == {0: 0, 1: 2}
    assert choose(logps, mask, torch.tensor([[False, False], [False, True]]), "sum") == {1: 3}


def test_prompts_are_padded_left_and_completions_right():
    ids, mask, inside = padded([[1], [2, 3]], [[4, 5], [6]], 0, "cpu")
    assert ids.tolist() == [[0, 1, 4, 5], [2, 3, 6, 0]]
    assert mask.tolist() == [[0, 1, 1, 1], [1, 1, 1, 0]]
    assert inside.tolist() == [[1, 1], [1, 0]]


# ---- the missing extra


def without_trl(code):
    code = f"import sys; sys.modules['trl'] = None\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, encoding="utf-8"
    )


@pytest.mark.parametrize("name", ["SGPOConfig", "SGPOTrainer"])
def test_a_missing_extra_is_one_sentence(name):
    done = without_trl(f"from sgpo_mini.scale import {name}")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError:") and 'pip install "sgpo-mini[scale]"' in last
    assert "During handling" not in done.stderr


def test_the_script_says_so_too():
    done = without_trl("from sgpo_mini.scale.train import main; sys.exit(main(['--steps', '1']))")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "sgpo-mini[scale]" in done.stderr


def test_the_data_needs_no_extra():
    done = without_trl(
        "from sgpo_mini.scale import to_dataset\n"
        "from sgpo_mini.problems import Problem\n"
        "print(to_dataset([Problem('a', 'How many?', '1')]).column_names[0])"
    )
    assert done.stdout.strip() == "prompt", done.stderr


def test_the_package_has_no_other_names():
    import sgpo_mini.scale

    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sgpo_mini.scale.no_such_name
    assert dir(sgpo_mini.scale) == sorted(
        ["SGPOConfig", "SGPOTrainer", "as_reward_function", "to_dataset"]
    )

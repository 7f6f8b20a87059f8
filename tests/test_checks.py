"""checks.py: texts beyond the context window, and rewards that do not work, are refused first."""

import json
import math
import random
import time
from dataclasses import asdict, replace
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy
import pytest
import torch
from small_world import (
    STRATEGY,
    config,
    copy_of,
    even_reward,
    pretrained_student,
    problem,
    problems,
    stream,
)
from transformers import (
    BloomConfig,
    FalconConfig,
    Gemma3Config,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    OPTConfig,
    Phi3Config,
    Qwen2Config,
)

from sgpo_mini.evaluation import evaluate
from sgpo_mini.problems import numeric_reward
from sgpo_mini.strategy_sources.measure import measure_strategies
from sgpo_mini.student import Student, save_student
from sgpo_mini.supervised import pretrain, warm_up
from sgpo_mini.support import checks
from sgpo_mini.support.checks import (
    RewardError,
    context_window,
    refuse_beyond_window,
    reward_of,
    try_reward,
)
from sgpo_mini.support.latex import latex_reward
from sgpo_mini.training import train

torch.set_num_threads(1)


def student_of_window(window: int) -> Student:
    student = copy_of(pretrained_student())
    student.model.config.max_position_embeddings = window
    return student


def gpt2(positions: int) -> Student:
    """A model with learned positions, which has nothing beyond its window."""
    student = pretrained_student()
    settings = GPT2Config(
        vocab_size=len(student.tokenizer),
        n_positions=positions,
        n_embd=32,
        n_layer=1,
        n_head=1,
        bos_token_id=None,
        eos_token_id=student.stop_ids[0],
    )
    return replace(student, model=GPT2LMHeadModel(settings))


# The context window


def rotary(kind: str, **more) -> dict:
    return {"rope_type": kind, "rope_theta": 10000.0, **more}


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        (GPT2Config(n_positions=128), 128),
        (OPTConfig(max_position_embeddings=256), 256),
        (GPTNeoXConfig(max_position_embeddings=2048), 2048),
        (Qwen2Config(max_position_embeddings=32768), 32768),
        (Qwen2Config(max_position_embeddings=10**9), 10**9),
        (MistralConfig(max_position_embeddings=4096, sliding_window=64), 4096),
        (Gemma3Config(text_config={"max_position_embeddings": 999}), 999),
        (
            LlamaConfig(max_position_embeddings=100, rope_parameters=rotary("linear", factor=4.0)),
            400,
        ),
        (
            LlamaConfig(max_position_embeddings=100, rope_parameters=rotary("dynamic", factor=2.0)),
            100,
        ),
        (
            Phi3Config(
                max_position_embeddings=131072,
                original_max_position_embeddings=4096,
                rope_parameters=rotary("longrope", long_factor=[1.0] * 48, short_factor=[1.0] * 48),
            ),
            4096,
        ),
        (
            Qwen2Config(
                max_position_embeddings=32768,
                rope_parameters=rotary("yarn", factor=4.0, original_max_position_embeddings=32768),
            ),
            131072,
        ),
        (
            LlamaConfig(
                max_position_embeddings=131072,
                rope_parameters=rotary(
                    "llama3",
                    factor=32.0,
                    original_max_position_embeddings=8192,
                    low_freq_factor=1.0,
                    high_freq_factor=4.0,
                ),
            ),
            131072,
        ),
        (BloomConfig(), None),  # ALiBi, as the next two
        (FalconConfig(alibi=True), None),
        (MptConfig(), None),
        (MambaConfig(), None),
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_the_window_is_what_the_model_was_made_to_read(settings, window):
    model = SimpleNamespace(config=settings)
    assert context_window(SimpleNamespace(causal_model=model)) == window


def longest(guided: bool) -> int:
    student = pretrained_student()
    return max(len(student.prompt_ids(p.question, p.strategy * guided)) for p in problems())


@pytest.mark.parametrize("guided", [False, True])
def test_a_prompt_and_its_completion_may_fill_the_window_and_no_more(guided):
    asked = {"guided": guided, "max_new_tokens": 16}
    window = longest(guided) + 16
    refuse_beyond_window(student_of_window(window), problems(), **asked)
    with pytest.raises(ValueError) as refusal:
        refuse_beyond_window(student_of_window(window - 1), problems(), **asked)
    kind = "guided prompt" if guided else "prompt"
    assert str(refusal.value) == (
        f"the student's context window is {window - 1} tokens, and problem 'p3' needs {window}: a "
        f"{kind} of {window - 16} and max_new_tokens=16; 2 of 10 problems don't fit: lower "
        "max_new_tokens (--max-new-tokens) to 15 or less, or use a student with a longer window"
    )


def test_where_the_prompt_alone_is_too_long_the_way_out_is_to_leave_it_out():
    given = [*problems(3), problem(3, STRATEGY * 30)]
    with pytest.raises(ValueError, match=r"1 of 4 problems don't fit: shorten it or leave it out"):
        refuse_beyond_window(student_of_window(100), given, guided=True, max_new_tokens=4)
    refuse_beyond_window(student_of_window(100), given, max_new_tokens=4)  # it isn't read


def test_a_given_solution_counts_with_its_stop_token():
    student = pretrained_student()
    (given,) = given_problems = [replace(problem(0), expert_solution="I take 2 " * 9)]
    window = len(student.prompt_ids(given.question)) + len(
        student.completion_ids(given.expert_solution)
    )
    refuse_beyond_window(student_of_window(window), given_problems, solution="expert_solution")
    with pytest.raises(
        ValueError, match=f"{window}: a prompt of .* and its expert_solution; 1 of 1"
    ):
        refuse_beyond_window(
            student_of_window(window - 1), given_problems, solution="expert_solution"
        )


@pytest.mark.parametrize("method", ["sgpo", "grpo", "sft", "luffy", "hpt"])
def test_training_is_refused_before_anything_starts_by_what_its_method_reads(method, tmp_path):
    """Guided prompts and given solutions count only where the method reads them."""
    given = [replace(p, expert_solution="I take 2 . #### 2") for p in problems()]
    settings = config(method=method, steps=1, max_new_tokens=8)
    imitating = max(
        len(pretrained_student().prompt_ids(p.question))
        + len(pretrained_student().completion_ids(p.expert_solution))
        for p in given
    )
    unguided, guided = longest(False) + 8, longest(True) + 8
    needed = {"sgpo": guided, "grpo": unguided, "sft": imitating}.get(
        method, max(unguided, imitating)
    )
    assert guided > unguided
    train(student_of_window(needed), given, settings, reward=even_reward)
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=f"window is {needed - 1} tokens"):
        train(student_of_window(needed - 1), given, replace(settings, out=str(out)))
    assert not out.exists()


def test_validation_counts_where_it_is_measured():
    given, validation = [problem(0)], [problem(3)]
    student = student_of_window(len(pretrained_student().prompt_ids(given[0].question)) + 4)
    settings = config(method="grpo", steps=1, max_new_tokens=4)
    train(student, given, settings, validation=validation)
    with pytest.raises(ValueError, match="problem 'p3'"):
        train(student, given, replace(settings, evaluate_every=1), validation=validation)


def test_the_whole_window_of_learned_positions_can_be_used_and_one_token_more_is_refused():
    window = longest(True) + 8
    settings = config(steps=1, max_new_tokens=8)
    train(gpt2(window), problems(), settings)
    evaluate(gpt2(window), problems(), guided=True, max_new_tokens=8)
    for shorter in (gpt2(window - 1), gpt2(20)):
        with pytest.raises(ValueError, match="longer window"):
            train(shorter, problems(), settings)
        with pytest.raises(ValueError, match="longer window"):
            evaluate(shorter, problems(), guided=True, max_new_tokens=8)
    evaluate(gpt2(window - 1), problems(), max_new_tokens=8)


def test_a_warm_up_is_refused_by_what_it_reads(tmp_path):
    student, out = pretrained_student(), tmp_path / "run"
    solution = len(student.completion_ids(problem(0).solution))
    for guided in (False, True):
        needed = longest(guided) + solution
        asked = {"with_strategy": guided, "epochs": 1, "batch_size": 10}
        warm_up(student_of_window(needed), problems(), **asked)
        with pytest.raises(ValueError, match=f"needs {needed}: .* and its solution;"):
            warm_up(student_of_window(needed - 1), problems(), out=str(out), **asked)
        assert not out.exists()


def test_pretraining_is_refused_by_its_first_examples_and_stops_at_a_later_one(tmp_path):
    with pytest.raises(ValueError, match="window is 12 tokens"):
        pretrain(student_of_window(12), stream(), steps=1, batch_size=2, out=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    later = [*problems(10), *problems(6), replace(problem(0), solution="I take 2 " * 30)]
    with pytest.raises(ValueError, match="window is 60 tokens, .* 1 of 1 problems"):
        pretrain(student_of_window(60), later, steps=9, batch_size=2, out=str(tmp_path / "run"))
    assert (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").count("\n") == 8


def test_measuring_strategies_is_refused_by_the_longest_of_its_prompts_before_the_first():
    """Here one that is read only where the longest question is given the other's strategy."""
    given = [problem(3, "Choose one ."), problem(0, STRATEGY * 3)]
    student = pretrained_student()
    own = max(len(student.prompt_ids(p.question, p.strategy)) for p in given)
    swapped = len(student.prompt_ids(given[0].question, given[1].strategy))
    assert swapped > own
    asked = {"samples": 2, "max_new_tokens": 4}
    measure_strategies(student_of_window(swapped + 4), given, **asked)
    calls = []
    with pytest.raises(ValueError, match=f"window is {swapped + 3} tokens"):
        measure_strategies(
            student_of_window(swapped + 3), given, reward=lambda *a: calls.append(a), **asked
        )
    assert not calls


@pytest.mark.parametrize(
    "command",
    [
        "train --method grpo --data long.jsonl",
        "evaluate --data long.jsonl",
        "pretrain --data long.jsonl",
        "strategies --data long.jsonl --measure",
    ],
)
def test_the_command_line_refuses_in_one_sentence(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    save_student(pretrained_student(), "student")
    book = "name an even number , please " * 400
    rows = [replace(p, question=book, strategy=f"Choose {p.id[1]} .") for p in problems(3)]
    (tmp_path / "long.jsonl").write_text(
        "".join(json.dumps(asdict(row)) + "\n" for row in rows), encoding="utf-8"
    )
    asked = command.split()
    asked += ["student"] if asked[-1] == "--measure" else ["--student", "student"]
    status, out, err = run(*asked)
    assert status == 2 and out == "" and err.count("\n") == 1, err
    assert err.startswith("sgpo_mini: the student's context window is 512 tokens")
    assert not (tmp_path / "runs").exists()


# Rewards


NUMBERS = [
    1, 0, -1, 0.5, True, False, 1e6, numpy.float32(0.5), numpy.float64(0.5), numpy.int64(1),
    numpy.bool_(True), numpy.array(0.5), torch.tensor(0.5), torch.tensor(1), torch.tensor(True),
    torch.tensor([0.5]), torch.tensor(0.5, dtype=torch.bfloat16), Fraction(1, 2), Decimal("0.5"),
]  # fmt: skip


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_every_kind_of_number_is_a_reward(value):
    given = reward_of(lambda text, told: value, "", problem(0))
    assert type(given) is float and given == float(value)


class Hostile:
    """A number that can neither be read nor shown."""

    def __float__(self):
        raise OSError("unreadable")

    __repr__ = __float__


NO_NUMBERS = [
    None, math.nan, math.inf, -math.inf, "1", "1.0", b"1", [1.0], (1.0,), [], {"reward": 1.0}, 1j,
    {1.0}, numpy.float32("nan"), numpy.array([1.0, 0.0]), torch.tensor(math.nan), 10**400, 1e300,
    torch.tensor([1.0, 0.0]), torch.tensor([]), numpy.array(["1"]), object(), float, 2e15,
    numpy.str_("1"), Decimal("NaN"), Decimal("Infinity"), Hostile(),
]  # fmt: skip


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_nothing_else_is(value):
    with pytest.raises(RewardError, match=r"reward of problem 'p7' is .*, not a finite number"):
        reward_of(lambda text, told: value, "", problem(7))


async def waiting_reward(text, given):
    return 1.0


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize(
    ("reward", "told"),
    [
        (lambda text, given: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (
            lambda text, given: (_ for _ in ()).throw(AssertionError()),
            "raised AssertionError [(]10",
        ),
        (lambda text: 1.0, "raised TypeError: .*1 positional argument"),
        (lambda text, given: {}[given.answer], "raised KeyError: '2'"),
        (
            lambda text, given: (_ for _ in ()).throw(ValueError("two\nlines")),
            "ValueError: two lines",
        ),
        (None, "raised TypeError: 'NoneType' object is not callable"),
        (waiting_reward, "is <coroutine"),
        (lambda text, given: print(text), r"is None \(NoneType\)"),
    ],
)
def test_a_reward_that_does_not_work_is_refused_in_words(reward, told):
    with pytest.raises(RewardError, match=told):
        try_reward(reward, problems())


def run_of(what: str):
    """What takes a reward, as a function of student, problems and reward."""
    return {
        "train": lambda s, p, r, out: train(s, p, config(steps=1, out=str(out)), reward=r),
        "luffy": lambda s, p, r, out: train(
            s, p, config(method="luffy", steps=1, out=str(out), given_solution="solution"), reward=r
        ),
        "evaluate": lambda s, p, r, out: evaluate(s, p, max_new_tokens=4, reward=r),
        "measure": lambda s, p, r, out: measure_strategies(
            s, p, samples=2, max_new_tokens=4, reward=r
        ),
    }[what]


@pytest.mark.parametrize("what", ["train", "luffy", "evaluate", "measure"])
@pytest.mark.parametrize(
    "value", [math.nan, None, [1.0], "right", torch.ones(2)], ids=lambda value: repr(value)[:20]
)
def test_one_bad_reward_among_many_problems_is_found_before_anything_starts(what, value, tmp_path):
    """Each problem is tried, also one that no step would draw."""
    student = copy_of(pretrained_student())
    given = [*problems(9), problem(9, strategy="Choose an even number .")]
    with pytest.raises(RewardError, match="problem 'p9'"):
        run_of(what)(
            student, given, lambda text, p: value if p.id == "p9" else 1.0, tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def test_gold_answers_that_can_not_be_read_are_counted_and_named():
    given = [replace(p, answer="many") if n % 2 else p for n, p in enumerate(problems())]
    with pytest.raises(RewardError) as refusal:
        train(copy_of(pretrained_student()), given, config(steps=1))
    assert str(refusal.value) == (
        "the reward of problem 'p1' raised ValueError: the gold answer 'many' can't be read as one "
        "number; correct it (5 of 10 problems fail): fix the reward or the problem; a reward must "
        "be a finite number for every completion of every problem"
    )


def test_a_reward_that_reads_the_gold_answer_only_beside_an_answer_is_found():
    def reward(text, given):
        stated = [word for word in text.split() if word.isdigit()]
        return float(bool(stated) and int(stated[-1]) == int(given.answer))

    with pytest.raises(RewardError, match="problem 'odd' raised ValueError: invalid literal"):
        try_reward(reward, [*problems(), replace(problem(1), id="odd", answer="$10")])


def test_the_trials_completion_is_a_solution_or_at_least_the_answer():
    tried = []
    given = [problem(0), replace(problem(1), solution="", expert_solution="so 2"), problem(2)]
    given[2] = replace(given[2], solution="")
    try_reward(lambda text, p: tried.append((p.id, text)) or 1.0, given)
    assert tried == [("p0", given[0].solution), ("p1", "so 2"), ("p2", "#### 2")]
    assert [numeric_reward(text, given[0]) for _, text in tried] == [1.0, 0.0, 1.0]
    assert latex_reward.__name__  # its marks are the same: see test_latex.py


def test_a_trial_leaves_every_random_state_as_it_was():
    def reward(text, given):
        return random.random() + numpy.random.rand() + torch.rand(()).item()

    def drawn():
        return random.random(), numpy.random.rand(), torch.rand(()).item()

    for seed in (random.seed, numpy.random.seed, torch.manual_seed):
        seed(0)
    expected = drawn()
    for seed in (random.seed, numpy.random.seed, torch.manual_seed):
        seed(0)
    try_reward(reward, problems())
    with pytest.raises(RewardError):
        try_reward(lambda text, given: reward(text, given) * math.nan, problems())
    assert drawn() == expected


def test_a_slow_reward_is_tried_for_a_limited_time_and_that_is_told(monkeypatch, capsys):
    monkeypatch.setattr(checks, "TRIAL_SECONDS", 0.05)
    calls = []

    def reward(text, given):
        calls.append(given.id)
        time.sleep(0.03)
        return 1.0

    try_reward(reward, problems(200))
    assert 1 < len(calls) < 10
    told = f"sgpo_mini: the reward is slow: tried on only {len(calls)} of 200 problems\n"
    assert told in capsys.readouterr().err


def test_sft_asks_no_reward():
    given = [replace(p, expert_solution="#### 2") for p in problems()]
    train(copy_of(pretrained_student()), given, config(method="sft", steps=1), reward=None)

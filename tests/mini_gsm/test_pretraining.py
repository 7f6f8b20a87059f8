"""pretraining.py: what the tiny student knows, how it is measured, and what is written with it."""

import json
import re
from itertools import islice

import pytest
import torch
from quick_student import quick_student

from sgpo_mini.evaluation import evaluate
from sgpo_mini.mini_gsm import pretraining
from sgpo_mini.mini_gsm.plans import LARGEST
from sgpo_mini.mini_gsm.pretraining import (
    MAX_NEW_TOKENS,
    make_tiny_student,
    measure_tiny_student,
    save_tiny_student,
    settings_for,
    vocabulary_texts,
)
from sgpo_mini.mini_gsm.world import PRACTICE_SHARE, SPLITS, make_problems, pretraining_stream
from sgpo_mini.strategies import autonomous_prompt, guided_prompt
from sgpo_mini.student import load_student, new_student
from sgpo_mini.study.evaluations import SURE_AND_WRONG
from sgpo_mini.support.intervals import confidence_interval
from sgpo_mini.training import METHODS, Config

torch.set_num_threads(1)


@pytest.fixture
def smaller(monkeypatch):
    for name, value in {"LAYERS": 1, "WIDTH": 32}.items():
        monkeypatch.setattr(pretraining, name, value)


@pytest.fixture(scope="module")
def measured():
    """The measurements of a student that guesses, from two samples a problem."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "SAMPLES", 2)
        yield measure_tiny_student(quick_student())


def some_of_every_split():
    """All problems of the evaluation splits, every eighth of `train`."""
    for split in SPLITS:
        yield from make_problems(split)[:: 8 if split == "train" else 1]


def test_its_words_are_all_that_mini_gsm_can_write():
    tokenizer = quick_student().tokenizer
    texts = [guided_prompt(p.question, p.strategy)[0]["content"]
             for p in islice(pretraining_stream(7), 1000)]  # fmt: skip
    for problem in some_of_every_split():
        texts += [autonomous_prompt(problem.question)[0]["content"], problem.strategy]
        texts += [problem.solution, problem.expert_solution]
    texts += [f"{number} + {number} = {number}\n#### {number}" for number in range(LARGEST + 1)]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert tokenizer.batch_decode(ids) == texts


def test_every_number_is_one_token():
    tokenizer = quick_student().tokenizer
    for number in range(LARGEST + 1):
        assert len(tokenizer(str(number), add_special_tokens=False)["input_ids"]) == 1


def test_no_solution_is_longer_than_the_limit():
    student = quick_student()
    problems = [*some_of_every_split(), *islice(pretraining_stream(3), 1000)]
    longest = max(len(student.completion_ids(problem.solution)) for problem in problems)
    assert longest < MAX_NEW_TOKENS


def test_the_vocabulary_has_one_order():
    again = new_student(vocabulary_texts(), 1, 32).tokenizer
    assert again.get_vocab() == quick_student().tokenizer.get_vocab()
    shipped = load_student("tiny", device="cpu").tokenizer
    assert shipped.get_vocab() == again.get_vocab(), "the world's words are not the student's"


def test_the_shipped_size(monkeypatch):
    monkeypatch.setattr(pretraining, "pretrain", lambda student, *_, **settings: student)
    student = make_tiny_student(0)
    assert 0.5e6 < sum(p.numel() for p in student.model.parameters()) < 1e6
    assert student.model.config.tie_word_embeddings


def test_the_seed_decides_all(smaller):
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(weights))
        student = make_tiny_student(seed, steps=2)
        weights.append([p.detach() for p in student.model.parameters()])
    same = [all(map(torch.equal, weights[0], other)) for other in weights[1:]]
    assert same == [True, False]


def test_it_learns_from_practice_and_from_stories_half_of_which_carry_a_strategy(
    smaller, monkeypatch
):
    streams = []
    monkeypatch.setattr(
        pretraining, "pretrain", lambda student, stream, **settings: streams.append(stream)
    )
    make_tiny_student(3)
    drawn = list(islice(streams[0], 1000))
    assert drawn == list(islice(pretraining_stream(3), 1000))
    guided = PRACTICE_SHARE + (1 - PRACTICE_SHARE) / 2
    assert abs(sum(bool(problem.strategy) for problem in drawn) / len(drawn) - guided) < 0.05


def test_measurements_leave_the_sure_and_wrong_out_of_the_averages(measured):
    problems = make_problems("validation")
    for name, settings in (
        ("guided", {"guided": True}),
        ("unguided", {"samples": 2, "temperature": 1.0}),
    ):
        answers = evaluate(quick_student(), problems, max_new_tokens=MAX_NEW_TOKENS, **settings)
        pairs = list(zip(problems, answers.accuracies, strict=True))
        fair = [accuracy for problem, accuracy in pairs if problem.family not in SURE_AND_WRONG]
        assert len(fair) < len(pairs)
        expected = [sum(fair) / len(fair), *confidence_interval(fair)]
        assert measured[name] == [round(value, 4) for value in expected]
        for family, share in measured[f"{name}_by_family"].items():
            own = [accuracy for problem, accuracy in pairs if problem.family == family]
            assert share == round(sum(own) / len(own), 4)
    assert 0 < measured["unguided"][0] < 0.2
    families = {problem.family for problem in problems}
    assert set(measured["unguided_by_family"]) == families > SURE_AND_WRONG


def test_the_model_card_says_what_was_measured_and_the_command(measured, monkeypatch, tmp_path):
    monkeypatch.setattr(pretraining, "measure_tiny_student", lambda student: measured)
    assert save_tiny_student(quick_student(), tmp_path, 5, pretraining.STEPS) == measured
    assert json.loads((tmp_path / "measured.json").read_text(encoding="utf-8")) == measured
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "`python -m sgpo_mini pretrain --seed 5 --threads 1`:" in card
    assert f": {pretraining.STEPS:,} steps of {pretraining.BATCH_SIZE} examples" in card
    for name in ("guided", "unguided"):
        value, low, high = (f"{number:.3f}" for number in measured[name])
        assert f": {value} ({low} to {high})" in card
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \|$", card, re.MULTILINE)
    assert {name for name, *_ in rows} == set(measured["unguided_by_family"])
    for name, unguided, guided in rows:
        assert unguided == f"{measured['unguided_by_family'][name]:.3f}"
        assert guided == f"{measured['guided_by_family'][name]:.3f}"
    parameters = sum(p.numel() for p in quick_student().model.parameters())
    assert f"{parameters:,} parameters" in card
    save_tiny_student(quick_student(), tmp_path, 5, 12)
    assert "--threads 1 --steps 12`: 12 steps" in (tmp_path / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("method", METHODS)
def test_settings_of_a_method_make_a_possible_configuration(method):
    settings = settings_for("mini-gsm", method)
    assert settings["max_new_tokens"] == MAX_NEW_TOKENS
    Config(method=method, **settings).check()
    assert settings_for("gsm8k", method) == settings_for("own.jsonl", method) == {}

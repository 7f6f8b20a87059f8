"""What the tiny student starts from, and how it is measured."""

import json
import math
from itertools import islice

import pytest
import torch

from sgpo_mini.mini_gsm import pretraining
from sgpo_mini.mini_gsm.plans import LARGEST
from sgpo_mini.mini_gsm.pretraining import (
    MAX_NEW_TOKENS,
    SETTINGS,
    give_numbers_waves,
    let_heads_look_back,
    make_tiny_student,
    over_families,
    save_tiny_student,
    settings_for,
    vocabulary_texts,
)
from sgpo_mini.mini_gsm.stream import pretraining_stream
from sgpo_mini.mini_gsm.world import CONTROL, DATA, SPLITS, draw_problems, make_problems
from sgpo_mini.student import load_student, new_student
from sgpo_mini.training import METHODS, Config

torch.set_num_threads(1)


@pytest.fixture
def smaller(monkeypatch):
    monkeypatch.setattr(pretraining, "LAYERS", 2)
    monkeypatch.setattr(pretraining, "WIDTH", 64)


@pytest.fixture(scope="module")
def student():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "LAYERS", 2)
        patch.setattr(pretraining, "WIDTH", 64)
        return make_tiny_student(steps=2)


def token_of(student, text):
    (token,) = student.tokenizer(text, add_special_tokens=False)["input_ids"]
    return token


def test_it_can_read_and_write_every_problem(student):
    problems = [p for split in SPLITS for p in make_problems(split)[::5]]
    stream = pretraining_stream(5)
    problems += [next(stream) for _ in range(300)]
    for problem in problems:
        prompt = student.decode(student.prompt_ids(problem.question, problem.strategy))
        assert problem.question in prompt and problem.strategy in prompt
        for solution in (problem.solution, problem.expert_solution):
            ids = student.completion_ids(solution)
            assert student.decode(ids) == solution
            assert len(ids) <= MAX_NEW_TOKENS


def test_the_vocabulary_has_one_order_and_is_that_of_the_shipped_student(student):
    shipped = load_student("tiny", device="cpu").tokenizer
    assert shipped.get_vocab() == student.tokenizer.get_vocab()


def test_the_shipped_size(monkeypatch):
    monkeypatch.setattr(pretraining, "pretrain", lambda student, *_, **settings: student)
    student = make_tiny_student(0)
    assert sum(p.numel() for p in student.model.parameters()) == 513_504
    shipped = load_student("tiny", device="cpu").model
    assert {n: w.shape for n, w in student.model.state_dict().items()} == {
        n: w.shape for n, w in shipped.state_dict().items()
    }
    assert student.model.config.tie_word_embeddings


def test_the_seed_decides_all(smaller):
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(weights))
        student = make_tiny_student(seed, steps=2)
        weights.append([p.detach() for p in student.model.parameters()])
    same = [all(map(torch.equal, weights[0], other)) for other in weights[1:]]
    assert same == [True, False]


@pytest.mark.parametrize("control", [False, True])
def test_it_learns_from_the_stream_of_its_seed_and_world(smaller, monkeypatch, control):
    streams = []
    monkeypatch.setattr(pretraining, "pretrain", lambda _, stream, **told: streams.append(stream))
    make_tiny_student(3, control=control)
    growing = pretraining.GROWING * pretraining.BATCH_SIZE
    expected = pretraining_stream(3, growing, control)
    assert list(islice(streams[0], 200)) == list(islice(expected, 200))


@pytest.mark.parametrize("data", [DATA, CONTROL])
@pytest.mark.parametrize("method", METHODS)
def test_settings_of_a_method_make_a_possible_configuration(method, data):
    settings = settings_for(data, method)
    assert (settings["max_new_tokens"], settings["steps"]) == (MAX_NEW_TOKENS, 30)
    Config(method=method, data=data, **settings).check()
    assert settings_for("gsm8k", method) == settings_for("own.jsonl", method) == {}


def test_settings_depend_on_the_training_set_and_on_the_solutions_given():
    assert settings_for(DATA, "sgpo", split="hard")["delta"] == SETTINGS["sgpo-hard"]["delta"]
    assert settings_for(DATA, "sgpo", split="easy") == settings_for(DATA, "sgpo")
    for method in ("sft", "luffy", "hpt"):
        own, expert = (settings_for(DATA, method, s) for s in ("solution", "expert_solution"))
        assert own["learning_rate"] == SETTINGS[f"{method}-own-form"]["learning_rate"]
        assert expert["learning_rate"] == SETTINGS[method]["learning_rate"]


def test_each_number_is_one_token_with_and_without_a_space(student):
    for number in range(1, LARGEST + 1):
        assert token_of(student, str(number)) != token_of(student, f" {number}")


def test_numbers_start_with_waves_of_several_periods():
    student = new_student(vocabulary_texts(), 1, 96, 0, spaced_numbers=True)
    weights = student.model.get_input_embeddings().weight
    with torch.no_grad():
        weights.zero_()
    give_numbers_waves(student)
    with torch.no_grad():
        rows = weights[[token_of(student, str(n)) for n in range(1, LARGEST + 1)]]
        spaced = weights[[token_of(student, f" {n}") for n in range(1, LARGEST + 1)]]
    assert torch.equal(rows, spaced)
    likeness = rows @ rows.T / rows[0].norm() ** 2
    for first, second in ((1, 2), (10, 30), (7, 64)):
        angles = [2 * math.pi * (first - second) / p for p in pretraining.PERIODS]
        expected = sum(map(math.cos, angles)) / len(angles)
        assert likeness[first - 1, second - 1] == pytest.approx(expected, abs=1e-4)
    assert (weights.abs().sum(dim=1) > 0).sum() == 2 * LARGEST


def test_a_head_starts_by_looking_from_a_word_to_the_number_behind_it():
    student = new_student(vocabulary_texts(), 2, 96, 0, pretraining.INITIAL_STD, True)
    let_heads_look_back(student)
    student.model.set_attn_implementation("eager")
    text = "Anna lost 5 shells. Then Anna found 7 shells. Later Ben won 9 shells. Amount found"
    ids = student.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        first, second = student.model(ids, output_attentions=True).attentions
    assert all(first[0, 0, t, t - 1] > 0.8 for t in range(4, ids.shape[1]))
    assert all(first[0, 1, t, t] > 0.8 for t in range(4, ids.shape[1]))
    words = [student.tokenizer.decode(token) for token in ids[0]]
    looks = {word: second[0, 0, -1, i].item() for i, word in enumerate(words) if word[1:].isdigit()}
    assert set(looks) == {" 5", " 7", " 9"}
    assert looks[" 7"] > 2 * max(looks[" 5"], looks[" 9"])


def test_each_split_is_measured_and_stands_in_the_model_card(student, monkeypatch, tmp_path):
    few = {split: draw_problems(split, seed=1)[:40:10] for split in SPLITS}
    monkeypatch.setattr(pretraining, "draw_problems", lambda split, seed, control: few[split])
    monkeypatch.setattr(pretraining, "SAMPLES", 2)
    measured = save_tiny_student(student, tmp_path, "the command")
    assert set(measured) == set(SPLITS) - {"train"}
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "Pretrained from scratch by `the command`" in card
    for split, row in measured.items():
        assert set(row) == {"guided", "unguided"}
        for mean, low, high in row.values():
            assert low <= mean <= high and 0 <= mean <= 1
        assert f"| `{split}` | {row['guided'][0]:.3f} (" in card
    assert json.loads((tmp_path / "measured.json").read_text("utf-8")) == measured
    assert load_student(tmp_path).tokenizer.vocab_size == student.tokenizer.vocab_size


def test_the_control_worlds_student_is_measured_in_the_control_world(
    student, monkeypatch, tmp_path
):
    worlds = []
    monkeypatch.setattr(
        pretraining, "measure_tiny_student", lambda student, control: worlds.append(control) or {}
    )
    for control in (False, True):
        save_tiny_student(student, tmp_path, "the command", control)
    assert worlds == [False, True]


def test_an_accuracy_over_families_counts_each_family_once():
    mean, low, high = over_families({"a": [1.0, 1.0, 1.0], "b": [0.0]})
    assert mean == 0.5 and low == 0.0 and high == 1.0

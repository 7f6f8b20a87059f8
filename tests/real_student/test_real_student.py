"""The real student: a warm-up, two steps of each method, a resumed run, an evaluation.

Needs the folder that make.py makes (SGPO_REAL_STUDENT_DIR), and three and a half minutes of one
core. The problems are short, and the warm-up teaches the student to answer them in a line. A full
checkpoint is 1.6 GB, so every folder is removed after its test.
"""

import dataclasses
import shutil
import zlib

import pytest
import torch

from sgpo_mini.evaluation import evaluate
from sgpo_mini.problems import Problem
from sgpo_mini.strategies import Strategy
from sgpo_mini.student import load_student, save_student
from sgpo_mini.supervised import warm_up
from sgpo_mini.support.files import read_rows
from sgpo_mini.training import Config, train

STRATEGY = Strategy("a total", "add the two amounts", ("Add the two numbers of apples",))
PROBLEMS = [
    Problem(
        id=f"apples-{i}",
        question=f"Ann has {i} apples and gets 3 more. How many apples does she have?",
        answer=str(i + 3),
        solution=f"{i} + 3 = <<{i}+3={i + 3}>>{i + 3}\n#### {i + 3}",
        strategy=STRATEGY.text,
    )
    for i in range(2, 10)
]
CONFIG = Config(
    problems_per_step=2,
    autonomous_rollouts=2,
    guided_rollouts=2,
    max_new_tokens=24,
    temperature=1.5,
    right_reward=0.5,
    given_solution="solution",
    sft_tokens_per_step=60,
    learning_rate=1e-4,
)


def reward(text: str, problem: Problem) -> float:
    """Differs from text to text, so that every group has something to learn."""
    return zlib.crc32(text.encode()) % 1000 / 999


@pytest.fixture(scope="module")
def warm(real_student_dir, tmp_path_factory):
    """The folder of the student after four steps of a mixed warm-up, and its losses."""
    folder = tmp_path_factory.mktemp("warm")
    student = load_student(real_student_dir, device="cpu")
    settings = {"with_strategy": 0.5, "epochs": 2, "batch_size": 4, "learning_rate": 2e-4}
    warm_up(student, PROBLEMS, **settings, out=str(folder / "run"))
    shutil.rmtree(folder / "run" / "checkpoints")
    save_student(student, folder / "student")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_the_warm_up_teaches_the_form_of_the_solutions_without_their_notes(warm):
    losses = [row["loss"] for row in read_rows(warm / "run" / "metrics.jsonl")]
    assert len(losses) == 4 and losses[-1] < losses[0] / 2
    student = load_student(warm / "student", device="cpu")
    result = evaluate(student, PROBLEMS[:4], max_new_tokens=24)
    texts = [text for row in result.completions for text in row]
    assert result.cut_off == 0 and all("+ 3 =" in text and "####" in text for text in texts)
    assert not any("<<" in text for text in texts)


@pytest.mark.parametrize("lora_rank", [8, 0], ids=["lora", "full"])
@pytest.mark.parametrize("method", ["sgpo", "grpo", "sft"])
def test_two_steps_resuming_and_evaluating(warm, folder, method, lora_rank):
    config = dataclasses.replace(CONFIG, method=method, steps=2, lora_rank=lora_rank)

    def trained(**changes):
        student = load_student(warm / "student", device="cpu", lora_rank=lora_rank)
        before = weights_of(student)
        train(student, PROBLEMS, dataclasses.replace(config, **changes), reward=reward)
        return student, before

    whole, before = trained()
    after = weights_of(whole)
    assert any(not torch.equal(after[name], before[name]) for name in before)
    if lora_rank or method == "sgpo":  # a checkpoint of all weights takes long to write
        out = str(folder / "run")
        trained(steps=1, out=out)
        resumed, _ = trained(out=out, resume=True)
        again = weights_of(resumed)
        assert all(torch.equal(again[name], after[name]) for name in after)
        rows = read_rows(folder / "run" / "metrics.jsonl")
        assert [row["step"] for row in rows] == [1, 2]
        assert all(row["gradient_norm"] > 0 and row["skipped_steps"] == 0 for row in rows)
        if method == "sgpo":
            assert any(row["kl"] > 0 and row["alpha_applied"] > 0 for row in rows)
        whole = load_student(folder / "run" / "student", device="cpu")
    for guided in (False, True):
        result = evaluate(whole, PROBLEMS[:2], guided=guided, max_new_tokens=12)
        assert len(result.completions) == 2 and all(row[0] for row in result.completions)


def weights_of(student) -> dict[str, torch.Tensor]:
    named = student.model.named_parameters()
    return {name: p.detach().clone() for name, p in named if p.requires_grad}

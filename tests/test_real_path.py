"""The real path: Qwen2.5's tokenizer and settings, GSM8K's lines, a random model of 5 M weights."""

import dataclasses
import json

import pytest
import torch
from random_qwen import END_OF_TEXT, END_OF_TURN, START_OF_TURN, VOCABULARY, random_qwen

from sgpo_mini.evaluation import evaluate
from sgpo_mini.problems import Problem, load_gsm8k
from sgpo_mini.rollout import sample, score, strategy_kl
from sgpo_mini.strategies import (
    INSTRUCTION,
    Strategy,
    load_strategies,
    save_strategies,
    with_strategies,
)
from sgpo_mini.student import load_student
from sgpo_mini.support import memory
from sgpo_mini.support.checks import refuse_unknown_words
from sgpo_mini.training import Config, train

SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."


@pytest.fixture(scope="module")
def model_folder(tokenizer_dir, tmp_path_factory):
    return random_qwen(tokenizer_dir, tmp_path_factory.mktemp("real") / "student")


@pytest.fixture(scope="module")
def problems(gsm8k_dir, tmp_path_factory) -> list[Problem]:
    """Six GSM8K problems with strategies from a file."""
    chosen = load_gsm8k("train", path=gsm8k_dir)[:6]
    path = tmp_path_factory.mktemp("strategies") / "strategies.jsonl"
    save_strategies(
        path,
        {
            problem.id: Strategy(
                problem_type="Arithmetic story with a change over time",
                approach="Follow the story and keep a running amount",
                steps=("Find the amount at the start", f"Apply change after change ({'so ' * i})"),
            )
            for i, problem in enumerate(chosen)
        },
    )
    return with_strategies(chosen, load_strategies(path))


@pytest.fixture(scope="module")
def student(model_folder):
    """Read only: tests that train load their own."""
    return load_student(model_folder, device="cpu")


def reward(text: str, problem: Problem) -> float:
    """A random model gets no answer right; half of its texts will do here."""
    return float(len(text) % 2)


CONFIG = Config(
    steps=3,
    problems_per_step=2,
    autonomous_rollouts=4,
    guided_rollouts=2,
    max_new_tokens=8,
    learning_rate=1e-3,
)


def test_the_folders_stop_tokens_are_kept_and_its_sampling_settings_are_not(student, model_folder):
    asked = json.loads((model_folder / "generation_config.json").read_text(encoding="utf-8"))
    assert asked["top_k"] == 20 and asked["repetition_penalty"] > 1
    assert student.stop_ids == (END_OF_TURN, END_OF_TEXT)
    assert student.pad_id == END_OF_TEXT
    kept = student.model.generation_config.to_diff_dict()
    assert not {"top_k", "top_p", "temperature", "repetition_penalty", "do_sample"} & kept.keys()
    assert student.plain_head


def test_prompts_are_the_chat_templates(student, problems):
    for problem in problems:
        for strategy in ("", problem.strategy):
            added = f"\n\nStrategy:\n{strategy}" if strategy else ""
            ids = student.prompt_ids(problem.question, strategy)
            assert student.tokenizer.decode(ids) == (
                f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"
                f"<|im_start|>user\n{problem.question}{added}\n\n{INSTRUCTION}<|im_end|>\n"
                "<|im_start|>assistant\n"
            )
            markers = [i for i in ids if i in (START_OF_TURN, END_OF_TURN)]  # single tokens
            assert markers == [START_OF_TURN, END_OF_TURN] * 2 + [START_OF_TURN]


def test_guided_and_autonomous_tokens_differ_in_the_strategy_alone(student, problems):
    for problem in problems:
        guided = student.prompt_ids(problem.question, problem.strategy)
        autonomous = student.prompt_ids(problem.question)
        added = len(guided) - len(autonomous)
        without = [guided[:i] + guided[i + added :] for i in range(len(autonomous))]
        place = without.index(autonomous)
        inserted = student.tokenizer.decode(guided[place : place + added])
        assert inserted.strip() == f"Strategy:\n{problem.strategy.strip()}"


def test_the_real_tokenizer_knows_every_word(student, problems, gsm8k_dir):
    lines = load_gsm8k("test", path=gsm8k_dir)[:200]
    refuse_unknown_words(student, [f"{p.question}\n{p.solution}" for p in lines])
    refuse_unknown_words(student, ["Grüße, naïve 東京 🙂 ∑ x² ≤ ½"])
    for problem in lines:
        ids = student.completion_ids(problem.solution)
        assert ids[-1] == END_OF_TURN
        assert student.decode(ids) == problem.solution


def test_completions_end_with_a_stop_token_that_is_scored_and_not_read(student, problems):
    prompts = [student.prompt_ids(p.question, p.strategy) for p in problems]
    torch.manual_seed(0)
    drawn = sample(student, prompts, 4, max_new_tokens=8)
    lengths = drawn.mask.sum(dim=1).long()
    last = drawn.tokens.gather(1, lengths.unsqueeze(1) - 1).squeeze(1)
    assert torch.equal(last == END_OF_TURN, ~drawn.truncated)
    assert 0 < drawn.truncated.sum() < len(lengths)
    assert not any("<|im_end|>" in text for text in drawn.texts)
    with torch.no_grad():
        logps = score(student, prompts, drawn)
        logits = student.model(input_ids=torch.tensor([prompts[0] + drawn.tokens[0].tolist()]))
    by_hand = logits.logits[0, len(prompts[0]) - 1 : -1].log_softmax(-1)
    n = int(lengths[0])
    expected = by_hand.gather(-1, drawn.tokens[0].unsqueeze(-1)).squeeze(-1)[:n]
    torch.testing.assert_close(logps[0, :n], expected, atol=1e-4, rtol=1e-4)
    assert drawn.entropies.max() > 5.0  # nats: spread over a vocabulary of 152,064


def largest_head_output(student, work) -> int:
    """The most rows of logits that exist at once while `work` runs."""
    rows = []
    hook = student.head.register_forward_hook(
        lambda module, inputs, output: rows.append(output.numel() // VOCABULARY)
    )
    work()
    hook.remove()
    return max(rows)


def test_log_probabilities_and_kl_never_hold_all_logits(student, problems, monkeypatch):
    autonomous = [student.prompt_ids(p.question) for p in problems]
    guided = [student.prompt_ids(p.question, p.strategy) for p in problems]
    drawn = sample(student, guided, 4, max_new_tokens=8)
    assert drawn.mask.sum() > 50
    monkeypatch.setattr(memory, "_CHUNK_NUMBERS", 10 * VOCABULARY)

    def work():
        logps = score(student, autonomous, drawn)
        kl = strategy_kl(student, guided, autonomous, drawn)
        (logps.sum() + kl.sum()).backward()
        student.model.zero_grad()

    assert largest_head_output(student, work) == 10


def test_a_training_step_never_holds_all_logits(model_folder, problems, monkeypatch):
    """Nor those of the prompts; while sampling, the logits of one token a completion exist."""
    student = load_student(model_folder, device="cpu")
    monkeypatch.setattr(memory, "_CHUNK_NUMBERS", 5 * VOCABULARY)
    config = dataclasses.replace(CONFIG, steps=1)
    most = largest_head_output(student, lambda: train(student, problems, config, reward=reward))
    completions = config.autonomous_rollouts + config.guided_rollouts  # a problem
    assert 5 <= most <= config.problems_per_step * completions


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_three_steps_resuming_and_evaluating(model_folder, problems, tmp_path, lora_rank):
    def run(out, steps, resume=False):
        student = load_student(model_folder, device="cpu", lora_rank=lora_rank)
        config = dataclasses.replace(
            CONFIG, steps=steps, lora_rank=lora_rank, out=str(tmp_path / out), resume=resume
        )
        return train(student, problems, config, reward=reward)

    student = run("whole", 3)
    run("parts", 2)
    resumed = run("parts", 3, resume=True)

    metrics = (tmp_path / "whole" / "metrics.jsonl").read_text(encoding="utf-8")
    assert metrics == (tmp_path / "parts" / "metrics.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in metrics.splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert any(row["grpo_loss"] for row in rows) or any(row["gradient_norm"] for row in rows)
    assert any(row["kl"] > 0 and row["alpha_applied"] > 0 for row in rows)
    assert all(0 <= row["truncated"] < 1 and row["skipped_steps"] == 0 for row in rows)

    untouched = dict(load_student(model_folder, device="cpu").model.named_parameters())
    trained, again = (dict(s.model.named_parameters()) for s in (student, resumed))
    assert all(torch.equal(trained[name], again[name]) for name in trained)
    changed = [name for name in trained if "lora_B" in name and trained[name].any()]
    if not lora_rank:
        changed = [name for name in trained if not torch.equal(trained[name], untouched[name])]
    assert changed

    saved = load_student(tmp_path / "whole" / "student", device="cpu")
    prompts = [student.prompt_ids(p.question) for p in problems]
    drawn = sample(student, prompts, 1, max_new_tokens=4)
    with torch.no_grad():
        assert torch.equal(score(saved, prompts, drawn), score(student, prompts, drawn))
    for guided in (False, True):
        result = evaluate(
            saved,
            problems,
            guided=guided,
            samples=2,
            temperature=0.6,
            top_p=0.95,
            max_new_tokens=8,
            reward=reward,
        )
        assert len(result.completions) == len(problems) and 0 <= result.accuracy <= 1


def test_gradient_checkpointing_trains_to_the_same_weights(model_folder, problems):
    weights = []
    for checkpointing in (False, True):
        student = load_student(model_folder, device="cpu", gradient_checkpointing=checkpointing)
        config = dataclasses.replace(CONFIG, steps=2, gradient_checkpointing=checkpointing)
        train(student, problems, config, reward=reward)
        weights.append(student.model.model.layers[0].mlp.up_proj.weight.detach())
    torch.testing.assert_close(*weights, atol=1e-4, rtol=1e-4)

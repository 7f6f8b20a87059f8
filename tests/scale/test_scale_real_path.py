"""The real path: Qwen2's architecture, Qwen2.5's tokenizer, GSM8K, LoRA, checkpoints."""

import json

import pytest

pytest.importorskip("trl", reason='needs the extra: pip install "sgpo-mini[scale]"')

import torch  # noqa: E402
from random_qwen import random_qwen  # noqa: E402

from sgpo_mini.problems import load_gsm8k  # noqa: E402
from sgpo_mini.scale import as_reward_function, train, trainer  # noqa: E402
from sgpo_mini.strategies import Strategy, save_strategies  # noqa: E402
from sgpo_mini.student import load_student  # noqa: E402

STRATEGY = Strategy("shopping", "add up what was bought", ("Multiply each price", "Add them"))


def every_second(completion: str, problem) -> float:
    """1 for half of what a random model writes, whatever it is."""
    return float(sum(map(ord, completion)) % 2 == 0)


def test_three_steps_with_lora(gsm8k_dir, tokenizer_dir, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("SGPO_GSM8K_DIR", str(gsm8k_dir))
    monkeypatch.setattr(trainer, "as_reward_function", lambda: as_reward_function(every_second))
    student = random_qwen(tokenizer_dir, tmp_path / "qwen")
    problems = load_gsm8k("train")[:12]
    save_strategies(tmp_path / "strategies.jsonl", {p.id: STRATEGY for p in problems})
    out = tmp_path / "run"
    arguments = ["--student", student, "--data", "gsm8k", "--only-with-strategies"]
    arguments += ["--strategies", tmp_path / "strategies.jsonl", "--lora-rank", 4, "--steps", 3]
    arguments += ["--problems-per-step", 2, "--autonomous-rollouts", 4, "--guided-rollouts", 3]
    arguments += ["--micro-batch", 4, "--max-new-tokens", 8, "--learning-rate", 1e-2]
    arguments += ["--gradient-checkpointing", "--checkpoint-every", 2, "--threads", 1]
    assert train.main([str(argument) for argument in [*arguments, "--out", out]]) == 0
    state = json.loads((out / "checkpoint-3" / "trainer_state.json").read_text(encoding="utf-8"))
    rows = [row for row in state["log_history"] if "p_auto" in row]
    assert len(rows) == 3
    assert all(0 < row["p_auto"] < 1 for row in rows) and any(row["kl"] > 0 for row in rows)
    assert all(row["grad_norm"] > 0 for row in rows)
    # What was learnt is an adapter that our loop and every command can load.
    trained = load_student(out / "student", device="cpu")
    moved = {n: p for n, p in trained.model.named_parameters() if "lora_B" in n}
    assert moved and all(parameter.abs().max() > 0 for parameter in moved.values())

"""`SGPOTrainer` and our loop: from the same rollouts the same loss and gradient, to 1e-5."""

import pytest

pytest.importorskip("trl", reason='needs the extra: pip install "sgpo-mini[scale]"')

import torch  # noqa: E402
from injected import copied, our_update, problems_of, rollouts_of, trl_update  # noqa: E402
from transformers import Gemma2Config, Gemma2ForCausalLM, GenerationConfig  # noqa: E402

from sgpo_mini.scale import SGPOConfig, SGPOTrainer, to_dataset  # noqa: E402
from sgpo_mini.student import Student, load_student  # noqa: E402

GROUPS = {"autonomous_rollouts": 4, "guided_rollouts": 3}
SAME_METRICS = "p_auto p_guide alpha kl masked_by_delta empty_c distillation_loss loss".split()


@pytest.fixture(scope="module")
def tiny():
    torch.set_num_threads(1)
    return load_student("tiny", device="cpu")


@pytest.fixture(scope="module")
def problems():
    return problems_of(4)


@pytest.fixture(scope="module")
def rows(tiny, problems):
    return rollouts_of(tiny, problems, *GROUPS.values())


def both(student, problems, rows, folder, micro_batch=0, **settings):
    """The two updates, after comparing all that they have in common."""
    # The KL of the right plan's tokens is 0.3 to 0.9 nats: a delta between drops some of them.
    settings = GROUPS | {"delta": 0.5} | settings
    theirs = trl_update(
        copied(student), problems, rows, folder, micro_batch=micro_batch, **settings
    )
    ours = our_update(copied(student), problems, rows, **settings)
    assert theirs["loss"] == pytest.approx(ours["loss"], abs=1e-5)
    assert len(theirs["gradients"]) == len(ours["gradients"])
    for their, our in zip(theirs["gradients"], ours["gradients"], strict=True):
        assert their.keys() == our.keys()
        for name in our:
            torch.testing.assert_close(their[name], our[name], rtol=0, atol=1e-5, msg=name)
    for name in SAME_METRICS:
        assert theirs["metrics"][name] == pytest.approx(ours["metrics"][name], abs=1e-5), name
    return ours


def largest(update) -> float:
    return max(gradient.abs().max().item() for gradient in update["gradients"][0].values())


def test_the_rollouts_have_everything_to_learn_from(tiny, problems, rows, tmp_path):
    metrics = both(tiny, problems, rows, tmp_path)["metrics"]
    assert 0 < metrics["p_auto"] < 1 and 0 < metrics["p_guide"] < 1
    assert 0 < metrics["truncated"] < 1
    assert metrics["masked_by_delta"] > 0 and metrics["grpo_loss"] != metrics["loss"]


@pytest.mark.parametrize(
    "settings",
    [
        {"delta": None},
        {"delta": 0.02},
        {"reverse_kl": True},
        {"fixed_alpha": 0.3},
        {"alpha0": 2.0, "gamma": 0.3, "alpha_max": 3.0},
        {"normalize_target": "sum"},
        {"temperature": 0.7},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings(tiny, problems, rows, tmp_path, settings):
    assert largest(both(tiny, problems, rows, tmp_path, **settings)) > 1e-2


def test_no_right_guided_completion(tiny, problems, rows, tmp_path):
    turned = rows["guided"][3:] + rows["guided"][:3]  # those of the next problem
    ours = both(tiny, problems, rows | {"guided": turned}, tmp_path)
    assert ours["metrics"]["empty_c"] == 1 and ours["metrics"]["distillation_loss"] == 0
    assert largest(ours) > 1e-2


def test_one_problem_without_a_right_guided_completion(tiny, problems, rows, tmp_path):
    mixed = rows["guided"][3:6] + rows["guided"][3:]
    ours = both(tiny, problems, rows | {"guided": mixed}, tmp_path)
    assert 0 < ours["metrics"]["empty_c"] < 1 and ours["metrics"]["distillation_loss"] > 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_rewards(tiny, problems, rows, tmp_path, value):
    def reward(completion, problem):
        return value

    finished = {
        name: [row if row[-1] in tiny.stop_ids else [*row, tiny.stop_ids[0]] for row in group]
        for name, group in rows.items()
    }
    ours = both(tiny, problems, finished, tmp_path, reward=reward)
    assert ours["metrics"]["groups_without_signal"] == 1 and ours["metrics"]["grpo_loss"] == 0
    assert (largest(ours) > 0) == (value == 1)


@pytest.mark.parametrize("settings", [{}, {"delta": None}, {"reverse_kl": True}])
def test_lora(problems, rows, tmp_path, settings):
    student = load_student("tiny", device="cpu", lora_rank=4)
    for name, parameter in student.model.named_parameters():
        if "lora_B" in name:  # they start at 0, where half of the gradient is 0
            torch.nn.init.normal_(parameter, std=0.02)
    ours = both(student, problems, rows, tmp_path, **settings)
    assert all("lora" in name for name in ours["gradients"][0])
    assert largest(ours) > 1e-3


@pytest.mark.parametrize("micro_batch", [2, 4, 8])
def test_micro_batches(tiny, problems, rows, tmp_path, micro_batch):
    """Of half a group, a whole one, two: the gradient is that of one batch."""
    both(tiny, problems, rows, tmp_path, micro_batch=micro_batch)


def test_gradient_checkpointing(problems, rows, tmp_path):
    both(load_student("tiny", device="cpu", gradient_checkpointing=True), problems, rows, tmp_path)


def test_two_updates_on_a_batch(tiny, problems, rows, tmp_path):
    """The second has a ratio that is not 1; narrow bounds, so that the clip acts."""
    narrow = {"clip_low": 1e-3, "clip_high": 2e-3, "learning_rate": 1e-4}
    ours = both(tiny, problems, rows, tmp_path, updates_per_batch=2, **narrow)
    first, second = (
        torch.cat([gradient.flatten() for gradient in update.values()])
        for update in ours["gradients"]
    )
    assert (first - second).abs().max() > 1e-2


def test_several_updates_share_a_generation_batch(tiny, problems, rows, tmp_path):
    """TRL's steps_per_generation: each update learns a part, and all of them learn everything."""
    parts = {"gradient_accumulation_steps": 1, "steps_per_generation": 2, "max_steps": 2}
    still = {"learning_rate": 1e-12}  # both parts are measured on the same weights
    theirs = trl_update(
        copied(tiny), problems, rows, tmp_path, micro_batch=8, **GROUPS, **parts, **still
    )
    ours = our_update(copied(tiny), problems, rows, **GROUPS)
    first, second = theirs["gradients"]
    for name, gradient in ours["gradients"][0].items():
        mean = (first[name] + second[name]) / 2
        torch.testing.assert_close(mean, gradient, rtol=0, atol=1e-5, msg=name)
    assert any((first[name] - second[name]).abs().max() > 1e-2 for name in first)


def test_bfloat16(tiny, problems, rows, tmp_path):
    """Autocast has the gradient's direction; weights and gradient stay float32."""
    theirs = trl_update(copied(tiny), problems, rows, tmp_path, bf16=True, **GROUPS)
    ours = our_update(copied(tiny), problems, rows, **GROUPS)
    half, full = (
        torch.cat([gradient.flatten() for gradient in update["gradients"][0].values()])
        for update in (theirs, ours)
    )
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(half, full, dim=0) > 0.99
    assert not torch.equal(half, full)
    assert theirs["metrics"]["kl"] == pytest.approx(ours["metrics"]["kl"], rel=0.05)


def test_evaluation_needs_no_strategy(tiny, problems, tmp_path):
    """It samples the unguided model alone, and leaves nothing behind for training."""
    rows = to_dataset(problems)
    settings = {"per_device_eval_batch_size": 4, "num_generations": 4, "use_cpu": True}
    settings |= {"bf16": False, "report_to": "none", "max_completion_length": 12}
    student = copied(tiny)
    trainer = SGPOTrainer(
        student.model,
        args=SGPOConfig(str(tmp_path), **settings),
        train_dataset=rows,
        eval_dataset=rows.remove_columns("strategy"),
        processing_class=student.tokenizer,
    )
    metrics = trainer.evaluate()
    assert 0 <= metrics["eval_reward"] <= 1 and metrics["eval_completions/max_length"] <= 12
    assert not any("p_guide" in name or "alpha" in name for name in metrics)


def test_a_model_that_caps_its_logits(tiny, problems, tmp_path):
    """Its logits are more than the head of its states: the KL has to be that of the whole model."""
    config = Gemma2Config(
        vocab_size=len(tiny.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        final_logit_softcapping=0.5,
        initializer_range=0.5,
        eos_token_id=tiny.stop_ids[0],
        pad_token_id=tiny.pad_id,
        bos_token_id=None,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=list(tiny.stop_ids), pad_token_id=tiny.pad_id
    )
    student = Student(model, tiny.tokenizer, tiny.stop_ids, tiny.pad_id, plain_head=False)
    written = rollouts_of(tiny, problems, *GROUPS.values())
    ours = both(student, problems, written, tmp_path, delta=None)
    assert ours["metrics"]["kl"] > 1e-4

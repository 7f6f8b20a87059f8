"""What is refused before any work, what a newer TRL may move, and the defaults."""

import ast
from pathlib import Path

import pytest

pytest.importorskip("trl", reason='needs the extra: pip install "sgpo-mini[scale]"')

from injected import problems_of  # noqa: E402
from trl import GRPOTrainer  # noqa: E402

from sgpo_mini.config import Config  # noqa: E402
from sgpo_mini.scale import SGPOConfig, SGPOTrainer, to_dataset, train, trl_internals  # noqa: E402
from sgpo_mini.strategies import autonomous_prompt, guided_prompt  # noqa: E402
from sgpo_mini.student import load_student  # noqa: E402

OURS = "guided_rollouts delta alpha0 gamma alpha_max select_target normalize_target reverse_kl "
OURS += "fixed_alpha temperature learning_rate"


def config(tmp_path, **changes):
    given = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": "none"}
    return SGPOConfig(**given | changes)


def test_the_defaults_are_the_papers(tmp_path):
    settings = config(tmp_path)
    for name in OURS.split():
        assert getattr(settings, name) == getattr(Config(), name), name
    assert (settings.epsilon, settings.epsilon_high) == (Config.clip_low, Config.clip_high)
    assert settings.num_generations == Config.autonomous_rollouts
    assert (settings.loss_type, settings.beta, settings.scale_rewards) == ("grpo", 0, "group")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"beta": 0.04}, "beta=0.04.*reference"),
        ({"loss_type": "cispo"}, "loss_type='cispo'.*grpo"),
        ({"loss_type": "vespo"}, "clipped"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level"),
        ({"off_policy_mask_threshold": 0.5}, "off_policy_mask_threshold=0.5"),
        ({"liger_kernel_config": {"fused_linear_cross_entropy": True}}, "Liger"),
        ({"epsilon": 0.3}, "epsilon is 0.3.*give both"),
        ({"guided_rollouts": 0}, "guided_rollouts must be at least 1"),
        ({"delta": 0.0}, "delta must be above 0"),
        ({"gamma": 0.0}, "gamma must be above 0"),
        ({"fixed_alpha": -1.0}, "fixed_alpha must be at least 0"),
        ({"normalize_target": "max"}, "normalize_target must be sum or mean"),
    ],
)
def test_what_contradicts_sgpo_is_refused(tmp_path, setting, told):
    with pytest.raises(ValueError, match=told):
        config(tmp_path, **setting)


@pytest.mark.parametrize(
    "setting",
    [
        {"epsilon": 0.3, "epsilon_high": 0.3},
        {"epsilon_high": 0.4},
        {"loss_type": "dapo"},
        {"delta": None},
        {"scale_rewards": "none"},
        {"liger_kernel_config": {"rope": True}},
    ],
)
def test_what_does_not_is_taken(tmp_path, setting):
    settings = config(tmp_path, **setting)
    assert all(getattr(settings, name) == value for name, value in setting.items())


def test_guided_rows_that_processes_cannot_share(tmp_path, monkeypatch):
    monkeypatch.setattr(SGPOConfig, "world_size", 3, raising=False)
    with pytest.raises(ValueError, match="3 processes cannot share equally"):
        config(tmp_path, per_device_train_batch_size=4, num_generations=6, guided_rollouts=2)


# ---- the trainer


def trainer(tmp_path, rows=None, **more):
    student = load_student("tiny", device="cpu")
    rows = to_dataset(problems_of(4)) if rows is None else rows
    more = {"args": config(tmp_path), "processing_class": student.tokenizer} | more
    return SGPOTrainer(student.model, train_dataset=rows, **more)


@pytest.mark.parametrize("column", ["prompt", "strategy", "answer"])
def test_a_missing_column_is_named(tmp_path, column):
    with pytest.raises(ValueError, match=f"no column '{column}'"):
        trainer(tmp_path, to_dataset(problems_of(4)).remove_columns(column))


def test_a_row_without_a_strategy_is_named(tmp_path):
    rows = to_dataset(problems_of(4)).to_list()
    rows[2]["strategy"] = " "
    with pytest.raises(ValueError, match="1 of 4 rows have no strategy, row 2 first"):
        trainer(tmp_path, to_dataset(problems_of(4)).from_list(rows))


def test_plain_text_prompts_are_refused(tmp_path):
    rows = [row | {"prompt": "How many?"} for row in to_dataset(problems_of(4)).to_list()]
    with pytest.raises(ValueError, match="chat messages"):
        trainer(tmp_path, to_dataset(problems_of(4)).from_list(rows))


@pytest.mark.parametrize("template", [True, False])
def test_prompts_are_those_of_our_loop(tmp_path, template):
    """Through the chat template, and as plain text where the tokenizer has none."""
    student = load_student("tiny", device="cpu")
    if not template:
        student.tokenizer.chat_template = None
    made = trainer(tmp_path, processing_class=student.tokenizer)
    problems = problems_of(4)
    prompts = [autonomous_prompt(p.question) for p in problems]
    prompts += [guided_prompt(p.question, p.strategy) for p in problems]
    ours = [student.prompt_ids(p.question) for p in problems]
    ours += [student.prompt_ids(p.question, p.strategy) for p in problems]
    assert made._tokenize_prompts(prompts)[0] == ours
    assert tuple(made.eos_token_ids) == student.stop_ids


@pytest.mark.parametrize("name", ["tools", "rollout_func", "environment_factory"])
def test_another_way_to_sample_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=name):
        trainer(tmp_path, **{name: [print]})


def test_grpos_own_configuration_is_refused(tmp_path):
    from trl import GRPOConfig

    with pytest.raises(ValueError, match="SGPOConfig, not GRPOConfig"):
        trainer(tmp_path, args=GRPOConfig(str(tmp_path), use_cpu=True, bf16=False))


# ---- TRL's private methods


def test_trl_is_as_it_was_read():
    changes = trl_internals.moved()
    assert not changes, (
        f"TRL {trl_internals.TRL_VERSION} has moved what sgpo_mini/scale/trl_internals.py builds "
        f"on (read from {trl_internals.READ_FROM}): {'; '.join(changes)}. Read its GRPOTrainer "
        "again, mend that file and READ_FROM, or lower the upper bound of trl in pyproject.toml"
    )


def test_the_check_of_the_project_installs_the_version_that_was_read():
    check = Path(__file__).parents[2] / ".ci" / "run"
    assert f'"trl=={trl_internals.READ_FROM}"' in check.read_text(encoding="utf-8")


def test_a_method_that_is_gone_or_renamed_is_named():
    class Newer(GRPOTrainer):
        _tokenize_prompts = None

        def _generate_single_turn(self, prompt_ids, sampling_params):
            pass

        def _compute_loss(self, model, inputs):
            return self.args.two_sided_clip

    changes = " | ".join(trl_internals.moved(Newer))
    assert "_tokenize_prompts is gone" in changes
    assert "_generate_single_turn lacks images, multimodal_fields, num_generations" in changes
    assert "_compute_loss no longer has `self.args.delta`" in changes
    with pytest.raises(RuntimeError, match=r'has moved.*pip install "trl=='):
        trl_internals.refuse_if_moved(Newer)


def test_no_other_file_of_the_wing_touches_what_is_private():
    """But dunder names, and attributes of its own class."""
    for path in Path(trl_internals.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
        }
        assert not any(name.startswith("trl.") for name in imported), path
        if path.name == "trl_internals.py":
            continue
        own = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)} | {"_sums"}
        used = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        used = {n for n in used if n.startswith("_") and not n.startswith("__")}
        assert used <= own, f"{path.name}: {used - own}"


# ---- the script


@pytest.fixture
def command(capsys):
    def call(*arguments):
        try:
            status = train.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--student", "no/such/model"], "no student can be loaded"),
        (["--data", "gsm9k"], "data must be"),
        (["--steps", "0"], "steps must be at least 1"),
        (["--steps", "many"], "whole number"),
        (["--no-such-option"], "no-such-option"),
        (["--delta", "-1"], "delta must be above 0"),
        (["--micro-batch", "5"], "--micro-batch must divide 64/1"),
        (["--problems-per-step", "99999"], "fewer than the 99999"),
        (["--trl", "use_vllm"], "NAME=VALUE"),
        (["--trl", "no_such=1"], "setting of SGPOConfig"),
        (["--trl", "beta=0.1"], "reference model"),
        (["--resume"], "no checkpoint to go on from"),
    ],
)
def test_a_refusal_is_one_sentence(command, tmp_path, arguments, told):
    status, err = command(*arguments, "--out", tmp_path / "run")
    lines = [line for line in err.splitlines() if line.startswith("sgpo_mini.scale:")]
    assert status == 2 and len(lines) == 1 and told in lines[0], err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_an_adapter_is_refused_as_a_student(command, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    status, err = command("--student", tmp_path, "--out", tmp_path / "run")
    assert status == 2 and "LoRA adapter: merge it" in err


def test_a_run_is_not_begun_over_another(command, tmp_path):
    for name in ("checkpoint-2", "checkpoint-10", "checkpoint-12"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-10" / "trainer_state.json").write_text("{}", encoding="utf-8")
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text("{}", encoding="utf-8")
    status, err = command("--out", tmp_path)
    assert status == 2 and "holds a run" in err and "--resume" in err
    # A checkpoint whose last file is missing was never finished.
    assert train._checkpoint(tmp_path, resume=True) == str(tmp_path / "checkpoint-10")


def test_problems_without_strategies_are_refused(command, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text('{"question": "How many?", "answer": "2"}\n' * 8, encoding="utf-8")
    status, err = command("--data", data, "--out", tmp_path / "run")
    assert status == 2 and "8 of 8 problems have no strategy" in err


def test_words_that_the_tiny_student_does_not_know_are_refused(command, tmp_path):
    data = tmp_path / "data.jsonl"
    line = '{"question": "Quasars emit photons?", "answer": "2", "strategy": "Count photons."}\n'
    data.write_text(line * 8, encoding="utf-8")
    status, err = command("--data", data, "--out", tmp_path / "run")
    assert status == 2 and "does not know" in err


def test_help_names_our_options_and_trls(command, capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    text = capsys.readouterr().out
    for option in ("--student", "--strategies", "--delta", "--guided-rollouts", "--lora-rank"):
        assert option in text
    assert "--trl NAME=VALUE" in text and "--method" not in text

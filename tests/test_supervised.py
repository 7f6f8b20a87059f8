"""supervised.py: the loss by hand, what is learnt, and that a stopped run goes on bit for bit."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from itertools import cycle, islice

import pytest
import torch
from safetensors.torch import load_file
from small_world import (
    copy_of,
    fresh_student,
    pretrained_student,
    problems,
    same_weights,
    stream,
    weights_of,
)

from sgpo_mini import supervised
from sgpo_mini.checkpoints import RunFolder
from sgpo_mini.problems import Problem
from sgpo_mini.student import load_student, new_student, save_student
from sgpo_mini.supervised import pretrain, sft_loss, warm_up
from sgpo_mini.support.files import read_rows

torch.set_num_threads(1)


def examples_of(student, given):
    return [
        (student.prompt_ids(p.question, p.strategy), student.completion_ids(p.solution))
        for p in given
    ]


def varied(count: int = 6) -> list[Problem]:
    """Problems with and without strategy, solutions of several lengths."""
    return [replace(p, id=str(i)) for i, p in enumerate(islice(stream(3), count))]


def loss_by_hand(student, batch) -> torch.Tensor:
    """Every sequence alone: minus the mean log-probability of all completion tokens."""
    logps = []
    for prompt, completion in batch:
        logits = student.model(input_ids=torch.tensor([prompt + completion])).logits[0]
        log_p = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
        logps.append(log_p[range(len(completion)), completion])
    return -torch.cat(logps).mean()


# The loss


def test_the_loss_is_the_cross_entropy_of_the_completions_alone(student):
    batch = examples_of(student, varied())
    assert len({len(prompt + completion) for prompt, completion in batch}) > 2
    gradients, losses = [], []
    for loss_of in (sft_loss, loss_by_hand):
        loss = loss_of(student, batch)
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad.clone() for p in student.model.parameters()])
        student.model.zero_grad()
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_padding_changes_nothing(student):
    """Neither the padding's token nor a longer row beside it counts."""
    short, long = sorted(examples_of(student, varied()), key=lambda row: len(row[0] + row[1]))[::5]
    alone, beside = sft_loss(student, [short]).item(), sft_loss(student, [short, long]).item()
    tokens = len(short[1]), len(long[1])
    expected = alone * tokens[0] + sft_loss(student, [long]).item() * tokens[1]
    assert beside == pytest.approx(expected / sum(tokens), abs=1e-5)
    other_pad = replace(student, pad_id=7)
    assert sft_loss(other_pad, [short, long]).item() == beside


def test_the_stop_token_is_learnt(student):
    """A completion ends with it: without its place the loss would be another."""
    ((prompt, completion),) = examples_of(student, varied(1))
    assert completion[-1] == student.stop_ids[0]
    rest = sft_loss(student, [(prompt, completion[:-1])]).item() * (len(completion) - 1)
    whole = sft_loss(student, [(prompt, completion)]).item() * len(completion)
    logits = student.model(input_ids=torch.tensor([prompt + completion[:-1]])).logits[0, -1]
    expected = -torch.log_softmax(logits, -1)[completion[-1]].item()
    assert whole - rest == pytest.approx(expected, abs=1e-4)


def test_logits_are_made_a_chunk_at_a_time_with_the_same_gradient(student, monkeypatch):
    batch, gradients = examples_of(student, varied()), []
    for size in (10**6, 7):
        monkeypatch.setattr(supervised, "chunk_size", lambda student, size=size: size)
        sft_loss(student, batch).backward()
        gradients.append([p.grad.clone() for p in student.model.parameters()])
        student.model.zero_grad()
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-4)


# The warm-up


def mean_loss(student, given) -> float:
    with torch.no_grad():
        return sft_loss(student, examples_of(student, given)).item()


@pytest.mark.parametrize("with_strategy", [False, True])
def test_the_warm_up_lowers_the_loss_of_the_prompts_it_is_given(student, with_strategy):
    given = [replace(p, solution="I take 8 and 8 and 8 . #### 8") for p in problems()]
    asked = given if with_strategy else [replace(p, strategy="") for p in given]
    before = mean_loss(student, asked)
    warm_up(
        student,
        given,
        with_strategy=with_strategy,
        epochs=5,
        batch_size=4,
        learning_rate=1e-3,
    )
    assert mean_loss(student, asked) < before / 2


def test_the_warm_up_puts_the_strategy_into_the_prompt_only_when_asked(student, monkeypatch):
    prompts, real = [], supervised.sft_loss

    def spy(student, batch):
        prompts.extend(student.tokenizer.decode(prompt) for prompt, _ in batch)
        return real(student, batch)

    monkeypatch.setattr(supervised, "sft_loss", spy)
    for with_strategy in (False, True):
        prompts.clear()
        warm_up(student, problems(), with_strategy=with_strategy, epochs=2, batch_size=4)
        assert len(prompts) == 20 and len(set(prompts)) == 10  # every problem once an epoch
        assert all(("two divides" in prompt) == with_strategy for prompt in prompts)


@pytest.fixture
def learnt(monkeypatch) -> list[tuple[str, str]]:
    """The (prompt, completion) of every example that is learnt, in order, as text."""
    texts, real = [], supervised.sft_loss

    def spy(student, batch):
        texts.extend(tuple(map(student.tokenizer.decode, example)) for example in batch)
        return real(student, batch)

    monkeypatch.setattr(supervised, "sft_loss", spy)
    return texts


@pytest.mark.parametrize(("share", "epochs"), [(0.5, 2), (0.2, 5), (0.75, 4)])
def test_a_share_of_the_prompts_has_the_strategy(student, learnt, share, epochs):
    """In every epoch the same share, and over the epochs the same share of every problem."""
    warm_up(student, problems(20), with_strategy=share, epochs=epochs, batch_size=4, seed=3)
    guided = ["two divides" in prompt for prompt, _ in learnt]
    assert [sum(guided[i : i + 20]) for i in range(0, len(guided), 20)] == [20 * share] * epochs
    unguided = [prompt for (prompt, _), yes in zip(learnt, guided, strict=True) if not yes]
    counts = {prompt: unguided.count(prompt) for prompt in unguided}
    assert len(counts) == 20 and set(counts.values()) == {round(epochs * (1 - share))}
    first = set(unguided[:10])
    learnt.clear()
    warm_up(student, problems(20), with_strategy=share, epochs=1, batch_size=4, seed=4)
    assert first != {prompt for prompt, _ in learnt if "two divides" not in prompt}


def test_a_finished_warm_up_continues_with_more_epochs(tmp_path):
    settings = {"with_strategy": 0.5, "batch_size": 4, "learning_rate": 1e-3}
    ends = []
    for folder, lengths in (("whole", [4]), ("parts", [1, 3, 4])):
        for epochs in lengths:
            student = copy_of(pretrained_student())
            out = {"out": str(tmp_path / folder), "resume": epochs != lengths[0]}
            warm_up(student, problems(), epochs=epochs, **settings, **out)
        ends.append(weights_of(student))
        with pytest.raises(ValueError, match="has done 12 steps, and 6 are asked for: give more"):
            warm_up(student, problems(), epochs=2, **settings, **out | {"resume": True})
    assert same_weights(*ends)
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "parts")]
    assert metrics[0] == metrics[1] and metrics[0].count(b"\n") == 12


def test_a_warm_up_of_an_earlier_version_continues(tmp_path):
    """It knew all prompts guided or none, and had no setting for notes."""
    for name in (False, True):
        start = {"out": str(tmp_path / str(name)), "with_strategy": name, "batch_size": 4}
        warm_up(copy_of(pretrained_student()), problems(), epochs=1, **start)
        path = tmp_path / str(name) / "config.json"
        saved = json.loads(path.read_text(encoding="utf-8"))
        assert saved.pop("calculation_notes") is False and saved["with_strategy"] == float(name)
        path.write_text(json.dumps(saved | {"with_strategy": name}), encoding="utf-8")
        with pytest.raises(ValueError, match=f"other settings: with_strategy .was {name}"):
            other = start | {"with_strategy": 0.5}
            warm_up(copy_of(pretrained_student()), problems(), epochs=2, resume=True, **other)
        warm_up(copy_of(pretrained_student()), problems(), epochs=2, resume=True, **start)
        assert len(read_rows(tmp_path / str(name) / "metrics.jsonl")) == 6


NOTED = [replace(p, solution="I take <<1+1=2>>2 . #### 2") for p in problems()]


def noted_student():
    texts = [text for p in NOTED for text in (p.question, p.solution)]
    return new_student([*texts, "#### 2"], layers=1, width=32)


def test_notes_are_not_learnt_unless_asked(learnt):
    student = noted_student()
    for keep, text in ((False, "I take 2 . #### 2"), (True, "I take <<1+1=2>>2 . #### 2")):
        learnt.clear()
        warm_up(student, NOTED, calculation_notes=keep, epochs=1)
        expected = student.tokenizer.decode(student.completion_ids(text))
        assert {completion for _, completion in learnt} == {expected}


def test_a_warm_up_of_an_earlier_version_goes_on_learning_notes(tmp_path, learnt):
    settings = {"out": str(tmp_path), "batch_size": 4}
    warm_up(noted_student(), NOTED, epochs=1, calculation_notes=True, **settings)
    path = tmp_path / "config.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    del saved["calculation_notes"]
    path.write_text(json.dumps(saved), encoding="utf-8")
    again = {"epochs": 2, "resume": True, **settings}
    with pytest.raises(ValueError, match=r"other settings: calculation_notes \(was True\)"):
        warm_up(noted_student(), NOTED, **again)
    warm_up(noted_student(), NOTED, calculation_notes=True, **again)
    assert len(learnt) == 20 and all("1+1=2" in text.replace(" ", "") for _, text in learnt)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(student, share):
    with pytest.raises(ValueError, match="with_strategy must be a share from 0 to 1, not"):
        warm_up(student, problems(), with_strategy=share)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([replace(problems()[3], solution="")], "'p3' has no solution"),
        ([replace(problems()[3], strategy="")], "'p3' has no strategy"),
        ([], "no problems"),
    ],
    ids=["solution", "strategy", "nothing"],
)
def test_problems_that_cannot_be_learnt_from_are_refused(student, tmp_path, given, told):
    before = weights_of(student)
    with pytest.raises(ValueError, match=told):
        warm_up(student, [*given], with_strategy=True, out=str(tmp_path / "run"))
    assert same_weights(before, weights_of(student)) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("budget", [1, 100])
def test_micro_batches_make_the_same_warm_up(budget):
    """Solutions differ in length, and every token counts the same in whichever part it is."""
    ends = []
    for tokens in (0, budget):
        student = copy_of(pretrained_student())
        batches = {"batch_size": 5, "micro_batch_tokens": tokens}
        warm_up(student, varied(10), epochs=1, learning_rate=1e-3, **batches)
        ends.append(weights_of(student))
    for name in ends[0]:  # Adam's first steps enlarge what rounding there is in small gradients
        torch.testing.assert_close(ends[0][name], ends[1][name], atol=2e-4, rtol=0)


def test_the_warm_up_works_with_lora_and_gradient_checkpointing(tmp_path):
    save_student(pretrained_student(), tmp_path)
    ends = []
    for checkpointing in (False, True):
        torch.manual_seed(0)  # of the adapters
        student = load_student(
            tmp_path, device="cpu", lora_rank=2, gradient_checkpointing=checkpointing
        )
        before = weights_of(student)
        warm_up(student, varied(), epochs=2, batch_size=3, learning_rate=1e-3)
        after = weights_of(student)
        changed = {name for name in after if not torch.equal(before[name], after[name])}
        assert changed and all("lora_" in name for name in changed)
        ends.append(after)
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], atol=2e-4, rtol=0)


# Pretraining


def test_pretraining_lowers_the_loss_and_logs_it(tmp_path):
    student = fresh_student()
    pretrain(student, stream(), steps=40, batch_size=16, learning_rate=8e-3, out=str(tmp_path))
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 41))
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert rows[0]["loss"] == pytest.approx(
        torch.tensor(len(student.tokenizer)).log().item(), abs=0.3
    )


def test_every_example_of_the_stream_is_learnt_once(student, monkeypatch):
    seen, real = [], supervised.sft_loss

    def spy(student, batch):
        seen.extend(tuple(prompt + completion) for prompt, completion in batch)
        return real(student, batch)

    monkeypatch.setattr(supervised, "sft_loss", spy)
    pretrain(student, stream(), steps=16, batch_size=4)
    given = examples_of(student, islice(stream(), 64))
    assert sorted(seen) == sorted(tuple(prompt + completion) for prompt, completion in given)


def test_a_stream_that_ends_too_early_is_told():
    with pytest.raises(ValueError, match="the examples ended after 3 of 5 steps"):
        pretrain(fresh_student(), varied(6), steps=5, batch_size=2)
    pretrain(fresh_student(), cycle(varied(6)), steps=5, batch_size=2)


STEPS = 20  # more than the 8 batches that are sorted together


def shortened(monkeypatch):
    pretrained_student()  # cached, so it must be made before anything is patched
    monkeypatch.setattr(supervised, "CHECKPOINT_EVERY", 3)


def start(kind: str, out, resume=False):
    """A pretraining or a warm-up of 20 steps; the student's weights at its end."""
    folder = {"out": str(out), "resume": resume}
    if kind == "pretrain":
        student = fresh_student()
        pretrain(student, stream(), steps=STEPS, batch_size=4, **folder)
    elif kind == "mixed warm-up":
        student = copy_of(pretrained_student())
        warm_up(student, problems(6), with_strategy=0.3, epochs=10, batch_size=3, **folder)
    else:
        student = copy_of(pretrained_student())
        warm_up(student, varied(), epochs=10, batch_size=3, learning_rate=1e-3, **folder)
    return weights_of(student)


def assert_same_runs(first, second):
    for folder in (first, second):
        names = [path.name for path in RunFolder(folder).checkpoints()]
        assert names == ["step-000020", "step-000018"]
    for name in ("metrics.jsonl", "config.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    for name in ("weights.safetensors", "optimizer.safetensors", "state.json"):
        path = f"checkpoints/step-000020/{name}"
        assert (first / path).read_bytes() == (second / path).read_bytes()


@pytest.mark.parametrize("kind", ["pretrain", "warm-up", "mixed warm-up"])
@pytest.mark.parametrize("step", [2, 8, 13])
def test_stopped_in_a_step_and_resumed_equals_uninterrupted(monkeypatch, tmp_path, kind, step):
    shortened(monkeypatch)
    real, count = supervised.sft_loss, iter(range(10**6))

    def stopping(*arguments):
        if next(count) == step:
            raise RuntimeError("power cut")
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(supervised, "sft_loss", stopping)
        start(kind, tmp_path / "run")
    assert len(read_rows(tmp_path / "run" / "metrics.jsonl")) == step
    resumed = start(kind, tmp_path / "run", resume=True)
    assert same_weights(resumed, start(kind, tmp_path / "whole"))
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("kind", ["pretrain", "warm-up"])
def test_ctrl_c_saves_and_the_resumed_run_equals_an_uninterrupted_one(monkeypatch, tmp_path, kind):
    shortened(monkeypatch)
    real, count = supervised.sft_loss, iter(range(10**6))

    def pressing(*arguments):
        if next(count) == 9:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    told = "continue with --resume --out .*run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match=told):
        patch.setattr(supervised, "sft_loss", pressing)
        start(kind, tmp_path / "run")
    assert RunFolder(tmp_path / "run").checkpoints()[0].name == "step-000010"
    resumed = start(kind, tmp_path / "run", resume=True)
    assert same_weights(resumed, start(kind, tmp_path / "whole"))
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_and_resumed_equals_uninterrupted(monkeypatch, tmp_path):
    """SIGKILL between the log line and the checkpoint of a step."""
    shortened(monkeypatch)
    child = os.fork()
    if child == 0:
        saved = iter(range(10))
        real = RunFolder.save_checkpoint

        def killing(*arguments):
            if next(saved) == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        RunFolder.save_checkpoint = killing
        start("pretrain", tmp_path / "run")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert len(read_rows(tmp_path / "run" / "metrics.jsonl")) == 15
    assert RunFolder(tmp_path / "run").checkpoints()[0].name == "step-000012"
    resumed = start("pretrain", tmp_path / "run", resume=True)
    assert same_weights(resumed, start("pretrain", tmp_path / "whole"))
    assert_same_runs(tmp_path / "whole", tmp_path / "run")


def test_a_folder_is_refused_when_it_holds_a_run_or_none_to_resume(student, tmp_path):
    start("pretrain", tmp_path / "run")
    with pytest.raises(ValueError, match="already holds a run"):
        start("pretrain", tmp_path / "run")
    with pytest.raises(ValueError, match="holds no run to resume"):
        start("pretrain", tmp_path / "other", resume=True)
    with pytest.raises(ValueError, match="resume needs the run's folder"):
        pretrain(student, stream(), steps=1, resume=True)
    with pytest.raises(ValueError, match=r"batch_size \(was 4\)"):
        settings = {"batch_size": 5, "out": str(tmp_path / "run"), "resume": True}
        pretrain(student, stream(), steps=STEPS, **settings)
    with pytest.raises(ValueError, match="first_example"):
        settings = {"batch_size": 4, "out": str(tmp_path / "run"), "resume": True}
        pretrain(student, stream(seed=1), steps=STEPS, **settings)
    saved = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert saved["steps"] == STEPS and saved["threads"] == 1


def test_gradients_of_half_precision_are_scaled(student):
    """Only there; a float32 student's scaler is idle."""
    assert not supervised.gradient_scaler(student).is_enabled()
    half = replace(student, compute_dtype=torch.float16)
    assert supervised.gradient_scaler(half).is_enabled()
    warm_up(half, varied(), epochs=2, batch_size=3, learning_rate=1e-3)
    assert all(tensor.isfinite().all() for tensor in weights_of(half).values())


# Losses that are not finite


def poison(monkeypatch, kind: str, calls) -> None:
    """Make the loss of the chosen calls (counted from 0) not finite, or its gradient alone."""
    real, count = supervised.sft_loss, iter(range(10**6))

    def poisoned(student, batch):
        loss = real(student, batch)
        if next(count) not in calls:
            return loss
        if kind == "gradient":
            weight = next(p for p in student.model.parameters() if p.requires_grad)
            return loss + (weight * 0).sum().sqrt()  # 0, with the gradient 0 · inf
        return loss * float(kind)

    monkeypatch.setattr(supervised, "sft_loss", poisoned)


@pytest.mark.parametrize("trained", ["pretrain", "warm-up"])
@pytest.mark.parametrize("bad", ["nan", "inf", "gradient"])
def test_a_step_that_is_not_finite_is_left_out_counted_and_told(
    monkeypatch, tmp_path, capsys, trained, bad
):
    shortened(monkeypatch)
    poison(monkeypatch, bad, {2, 11, 12})
    after = start(trained, tmp_path)
    assert all(tensor.isfinite().all() for tensor in after.values())
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["skipped_steps"] for row in rows] == [0, 0, *[1] * 9, 2, *[3] * 8]
    # No JSON has a number that is not finite.
    assert {row["step"] for row in rows if row["loss"] is None} == (
        set() if bad == "gradient" else {3, 12, 13}
    )
    told = [line for line in capsys.readouterr().err.split("\n") if "is skipped" in line]
    assert [re.search(r"step (\d+) is", line)[1] for line in told] == ["3", "12"]


@pytest.mark.parametrize("trained", ["pretrain", "warm-up"])
def test_five_in_a_row_stop_the_run_with_finite_checkpoints_and_it_can_be_resumed(
    monkeypatch, tmp_path, trained
):
    shortened(monkeypatch)
    whole = start(trained, tmp_path / "whole")
    with monkeypatch.context() as patch:
        poison(patch, "nan", range(7, 100))
        with pytest.raises(
            RuntimeError, match="not finite in 5 steps in a row, so the run stopped"
        ):
            start(trained, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    for checkpoint in folder.checkpoints():
        weights = load_file(checkpoint / "weights.safetensors")
        assert all(tensor.isfinite().all() for tensor in weights.values())
    assert [path.name for path in folder.checkpoints()] == ["step-000012", "step-000009"]
    assert json.loads((folder.checkpoints()[0] / "state.json").read_bytes())["skipped"] == 5
    # What was left out stays so; a checkpoint of before is gone on with as in a run undisturbed.
    shutil.rmtree(folder.checkpoints()[0])
    shutil.rmtree(folder.checkpoints()[0])
    assert same_weights(start(trained, tmp_path / "run", resume=True), whole)


def test_the_examples_that_a_run_learns_from_may_not_change(tmp_path):
    """Beyond the first example too, which older versions looked at alone."""
    given = varied(6)
    settings = {"steps": 2, "batch_size": 2, "out": str(tmp_path / "run")}
    pretrain(fresh_student(), cycle(given), **settings)
    for change in ({"solution": "I take 4 . #### 4"}, {"question": "name 3"}, {"strategy": "x"}):
        other = [*given[:4], replace(given[4], **change), given[5]]
        with pytest.raises(ValueError, match=r"\(changed: (examples|strategies)\)"):
            pretrain(fresh_student(), cycle(other), resume=True, **settings)
    pretrain(fresh_student(), cycle(given), resume=True, **settings)


@pytest.mark.parametrize("with_strategy", [False, True])
def test_the_problems_of_a_warm_up_may_not_change(tmp_path, with_strategy):
    settings = {"epochs": 1, "out": str(tmp_path / "run"), "with_strategy": with_strategy}
    warm_up(copy_of(pretrained_student()), problems(), **settings)
    asked = [*problems()[:9], replace(problems()[9], solution="I take 4 . #### 4")]
    with pytest.raises(ValueError, match=r"\(changed: problems\)"):
        warm_up(copy_of(pretrained_student()), asked, resume=True, **settings)
    other = [replace(problem, strategy="other") for problem in problems()]
    if with_strategy:
        with pytest.raises(ValueError, match=r"\(changed: strategies\)"):
            warm_up(copy_of(pretrained_student()), other, resume=True, **settings)
    else:  # it reads none
        warm_up(copy_of(pretrained_student()), other, resume=True, **settings)


@pytest.mark.parametrize("kind", ["pretrain", "warm-up"])
def test_two_runs_in_one_folder_are_refused(monkeypatch, tmp_path, kind):
    said, real = [], supervised.sft_loss

    def second(*arguments):
        if not said:
            said.append("")
            with pytest.raises(ValueError, match="another run .*is using"):
                start(kind, tmp_path / "run", resume=True)
        return real(*arguments)

    monkeypatch.setattr(supervised, "sft_loss", second)
    start(kind, tmp_path / "run")
    assert [row["step"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")] == [*range(1, 21)]

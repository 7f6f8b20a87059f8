"""Two processes (gloo): the gradient and the metrics of one, a run that ends, a killed one."""

import json

import pytest

pytest.importorskip("trl", reason='needs the extra: pip install "sgpo-mini[scale]"')

import torch  # noqa: E402
from injected import copied, problems_of, rollouts_of, trl_update  # noqa: E402
from processes import HERE, launch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from sgpo_mini.student import load_student  # noqa: E402

# Per process: a whole number of groups; a group of which each process has a half; micro-batches
# that are smaller than a group, with adapters; micro-batches under gradient checkpointing.
CASES = {
    "whole groups": (4, 0, {}),
    "a group over both": (3, 0, {"settings": {"delta": None}}),
    "micro-batches, LoRA": (3, 0, {"lora_rank": 4, "settings": {"micro_batch": 2}}),
    "no right guided completion": (4, 2, {}),
}
GROUPS = {"autonomous_rollouts": 4, "guided_rollouts": 2}
TIMES = ("step_time", "train_runtime")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """{case: (job, folder of what two processes made of it)}, from one start of the two."""
    torch.set_num_threads(1)
    student, jobs = load_student("tiny", device="cpu"), {}
    for case, (count, turned, more) in CASES.items():
        rows = rollouts_of(student, problems_of(count), *GROUPS.values())
        rows["guided"] = rows["guided"][turned:] + rows["guided"][:turned]
        job = {"problems": count, "rows": rows, "lora_rank": 0, "settings": {}} | more
        job["settings"] = GROUPS | job["settings"]
        job["out"] = str(tmp_path_factory.mktemp("case"))
        jobs[case] = job
    path = tmp_path_factory.mktemp("jobs") / "jobs.json"
    path.write_text(json.dumps(list(jobs.values())), encoding="utf-8")
    done = launch(HERE / "injected.py", path)
    assert done.returncode == 0, done.stderr[-3000:]
    return jobs


@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(jobs, case, tmp_path):
    job = jobs[case]
    student = load_student("tiny", device="cpu", lora_rank=job["lora_rank"])
    settings = job["settings"] | {"micro_batch": 0}
    one = trl_update(
        copied(student), problems_of(job["problems"]), job["rows"], tmp_path, **settings
    )
    gradient, two = one["gradients"][0], load_file(f"{job['out']}/gradient.safetensors")
    assert two.keys() == gradient.keys()
    for name in gradient:
        torch.testing.assert_close(two[name], gradient[name], rtol=0, atol=1e-5, msg=name)
    assert max(tensor.abs().max().item() for tensor in two.values()) > 1e-3
    metrics = json.loads(
        (tmp_path.__class__(job["out"]) / "metrics.json").read_text(encoding="utf-8")
    )
    for name in ("p_auto", "p_guide", "alpha", "kl", "masked_by_delta", "empty_c", "reward"):
        assert metrics[name] == pytest.approx(one["metrics"][name], abs=1e-5), name
    assert metrics["distillation_loss"] == pytest.approx(
        one["metrics"]["distillation_loss"], abs=1e-5
    )


def test_a_killed_run_goes_on_where_its_checkpoint_stands(tmp_path):
    """20 steps on mini-GSM; a process dies in the 13th, the last checkpoint is the 10th's."""
    options = ["--steps", 20, "--problems-per-step", 4, "--autonomous-rollouts", 4]
    options += ["--guided-rollouts", 2, "--micro-batch", 4, "--checkpoint-every", 5]
    options += ["--threads", 1, "--seed", 5, "--out", tmp_path / "run"]
    script = HERE / "killed_scale_run.py"
    killed = launch(script, tmp_path / "first", 13, *options)
    assert killed.returncode != 0 and "SIGKILL" in killed.stderr
    before = rows_of(tmp_path / "first-0")
    assert [row["step"] for row in before] == list(range(1, 13))

    gone_on = launch(script, tmp_path / "second", 0, *options, "--resume")
    assert gone_on.returncode == 0, gone_on.stderr[-3000:]
    after = rows_of(tmp_path / "second-0")
    assert [row["step"] for row in after] == list(range(11, 21))
    assert after[:2] == before[10:]  # the very same two steps
    assert rows_of(tmp_path / "second-1") == after  # the metrics of both processes' rows
    state = json.loads(
        (tmp_path / "run" / "checkpoint-20" / "trainer_state.json").read_text(encoding="utf-8")
    )
    assert len([row for row in state["log_history"] if "alpha" in row]) == 20
    student = load_student(tmp_path / "run" / "student", device="cpu")
    assert student.plain_head


def rows_of(path) -> list[dict]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


@pytest.mark.parametrize("kind", ["fsdp", "zero3"])
def test_a_model_in_pieces_has_the_gradient_of_the_whole(tmp_path, kind):
    """Each process holds half of the weights at most; both passes of a step, checkpointed."""
    if kind == "zero3":
        pytest.importorskip("deepspeed", reason="deepspeed is not installed")
    done = launch(HERE / "sharded_kl.py", tmp_path / "told.json", kind)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert told["share"] < 0.6
    assert told["largest"] > 1e-2 and told["difference"] < 1e-5

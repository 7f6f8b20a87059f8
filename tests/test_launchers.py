"""launchers.py: several processes are refused, and one inside a batch job is not."""

import os

import pytest
from small_world import config, copy_of, pretrained_student, problems, stream

from sgpo_mini.evaluation import evaluate
from sgpo_mini.supervised import pretrain, warm_up
from sgpo_mini.support.launchers import refuse_several_processes
from sgpo_mini.training import train

STARTS = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "SLURM_", "OMPI_", "PMI_", "MV2_", "HOROVOD_")


@pytest.fixture
def launched(monkeypatch):
    """Sets the variables that a launcher would set, and no others of any launcher."""
    for name in [name for name in os.environ if name.startswith(STARTS)]:
        monkeypatch.delenv(name)

    def start(told: str) -> None:
        for assignment in told.split():
            monkeypatch.setenv(*assignment.split("="))

    return start


@pytest.mark.parametrize(
    "told",
    [
        "WORLD_SIZE=2 RANK=0 LOCAL_RANK=0 LOCAL_WORLD_SIZE=2",  # torchrun, accelerate, deepspeed
        "WORLD_SIZE=2 RANK=1 LOCAL_RANK=1",
        "WORLD_SIZE=16 RANK=9",  # one process on each of 16 nodes
        "WORLD_SIZE=8 LOCAL_RANK=3",
        "SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 SLURM_JOB_NAME=train.sh",
        "SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=3 SLURM_LOCALID=1",
        "OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_LOCAL_RANK=1",
        "PMI_SIZE=3 PMI_RANK=2",
        "MV2_COMM_WORLD_SIZE=2 MV2_COMM_WORLD_RANK=0",
        "WORLD_SIZE=1 RANK=0 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1",
    ],
)
def test_one_of_several_processes_is_refused(launched, told):
    launched(told)
    with pytest.raises(RuntimeError, match=r"a launcher started \d+ .*: start it once"):
        refuse_several_processes()


@pytest.mark.parametrize(
    "told",
    [
        "",
        "WORLD_SIZE=1 RANK=0 LOCAL_RANK=0",  # torchrun --nproc-per-node 1
        "WORLD_SIZE=4 MASTER_PORT=29500",  # set for a launcher that is still to come
        "RANK=3 LOCAL_RANK=3",
        "WORLD_SIZE=auto RANK=0",
        "SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_LOCALID=0",  # a batch script
        "SLURM_NTASKS=1 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0",  # srun -n 1 in it
        "SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 SLURM_JOB_NAME=bash",  # --pty bash
        "OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0",
        "PMI_SIZE=1 PMI_RANK=0",
    ],
)
def test_one_process_is_not_wherever_it_runs(launched, told):
    launched(told)
    refuse_several_processes()


@pytest.mark.parametrize("word", ["train", "evaluate", "pretrain", "strategies", "compare"])
def test_the_command_line_refuses_before_anything_is_written(launched, run, word, tmp_path):
    launched("WORLD_SIZE=2 RANK=1 LOCAL_RANK=1")
    out = tmp_path / "out"
    status, _, err = run(word, "--out", out)
    assert status == 2 and not out.exists()
    assert err.startswith("sgpo_mini: this program runs in one process") and err.count("\n") == 1
    assert "WORLD_SIZE=2" in err and "--out" in err


def test_help_is_given_to_each_of_several(launched, run):
    launched("WORLD_SIZE=2 RANK=1")
    assert run("train", "--help")[0] == 0


def test_what_trains_is_refused_and_what_only_measures_is_not(launched, tmp_path):
    """Each of several processes may evaluate its part of the problems."""
    student = copy_of(pretrained_student())
    launched("SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1")
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="start it once"):
        train(student, problems(), config(out=str(out)))
    with pytest.raises(RuntimeError, match="start it once"):
        pretrain(student, stream(), steps=1, out=str(out))
    with pytest.raises(RuntimeError, match="start it once"):
        warm_up(student, problems(), out=str(out))
    assert not out.exists()
    evaluate(student, problems(1), max_new_tokens=2)

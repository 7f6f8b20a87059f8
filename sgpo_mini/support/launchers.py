"""Training uses one process. We refuse a launcher that starts several.

Each process would train by itself, with the same seed, into the same folder. A batch job that runs
one process is fine, however many tasks it has. We refuse only if this process has a rank, which
means that it was started as one of several.
"""

import os

# The variable with the number of processes, and those with the rank of each process.
_COUNTS = {
    "WORLD_SIZE": ("RANK", "LOCAL_RANK"),  # torchrun, accelerate, deepspeed, Kubeflow
    "SLURM_STEP_NUM_TASKS": ("SLURM_PROCID",),  # srun; a batch script itself has no step
    "OMPI_COMM_WORLD_SIZE": ("OMPI_COMM_WORLD_RANK",),  # Open MPI
    "PMI_SIZE": ("PMI_RANK",),  # MPICH, Intel MPI
    "MV2_COMM_WORLD_SIZE": ("MV2_COMM_WORLD_RANK",),  # MVAPICH
    "HOROVOD_SIZE": ("HOROVOD_RANK",),
}
_INTERACTIVE = ("bash", "interactive")  # `srun -n 4 --pty bash`: a shell and its children


def refuse_several_processes() -> None:
    """Raise RuntimeError if a launcher started this program several times."""
    for name, ranks in _COUNTS.items():
        count = os.environ.get(name, "")
        if not (count.isdecimal() and int(count) > 1 and any(os.environ.get(r) for r in ranks)):
            continue
        if name.startswith("SLURM") and os.environ.get("SLURM_JOB_NAME") in _INTERACTIVE:
            continue
        raise RuntimeError(
            f"this program runs in one process, but a launcher started {count} ({name}={count}): "
            "start it once, without torchrun, accelerate launch, srun -n or mpirun; start parallel "
            "runs separately, each with its own seed and folder (--out)"
        )

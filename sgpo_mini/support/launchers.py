"""One process trains. A launcher that starts several of it is refused, in words.

Each of several processes would train alone, on the same seed, into the same folder. A batch job
that runs one process is fine, however many tasks it was given: what counts is that this process was
started as one of several, and so knows its rank among them.
"""

import os

# The number of processes that a launcher started, and a rank, which each of them is given.
_COUNTS = {
    "WORLD_SIZE": ("RANK", "LOCAL_RANK"),  # torchrun, accelerate, deepspeed, Kubeflow
    "SLURM_STEP_NUM_TASKS": ("SLURM_PROCID",),  # srun; a batch script itself is in no step
    "OMPI_COMM_WORLD_SIZE": ("OMPI_COMM_WORLD_RANK",),  # Open MPI
    "PMI_SIZE": ("PMI_RANK",),  # MPICH, Intel MPI
    "MV2_COMM_WORLD_SIZE": ("MV2_COMM_WORLD_RANK",),  # MVAPICH
    "HOROVOD_SIZE": ("HOROVOD_RANK",),
}
_INTERACTIVE = ("bash", "interactive")  # `srun -n 4 --pty bash`: a shell, and what it starts


def refuse_several_processes() -> None:
    """Raise RuntimeError where a launcher started this program several times."""
    for name, ranks in _COUNTS.items():
        count = os.environ.get(name, "")
        if not (count.isdecimal() and int(count) > 1 and any(os.environ.get(r) for r in ranks)):
            continue
        if name.startswith("SLURM") and os.environ.get("SLURM_JOB_NAME") in _INTERACTIVE:
            continue
        raise RuntimeError(
            f"this program works in one process, and a launcher started {count} of it ({name}="
            f"{count}): start it once, without torchrun, accelerate launch, srun -n or mpirun; for "
            "several runs side by side start each alone, with its own seed and folder (--out)"
        )

"""Start a script in two processes on the CPU, as the page of the wing says."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import sgpo_mini

HERE = Path(__file__).parent
CONFIG = Path(sgpo_mini.__file__).parent / "scale" / "configs" / "two_cpu_processes.yaml"


def launch(*command, timeout: int = 900) -> subprocess.CompletedProcess:
    """`accelerate launch` of a script or of -m MODULE, with one thread a process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [str(HERE.parents[1]), str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "HF_HUB_OFFLINE": "1",
    }
    starter = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIG)]
    starter += ["--main_process_port", str(port), "--num_cpu_threads_per_process", "1"]
    return subprocess.run(
        [*starter, *map(str, command)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        encoding="utf-8",
    )

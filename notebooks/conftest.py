"""What nbval needs and what it leaves out of its comparison; see also pyproject.toml."""

import os
from pathlib import Path

# Kernels inherit this: the checkout is importable from notebooks/, nothing is fetched, and figures
# go to the notebook whatever backend the shell chose.
_ROOT = str(Path(__file__).resolve().parents[1])
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("MPLBACKEND", None)

SKIP = ("stderr",)  # progress bars and warnings; nbval itself skips pictures and widgets
SANITIZE = {
    r"[^\r\n]*\d+%\|[^\r\n]*": "PROGRESS",
    r"0x[0-9a-fA-F]{6,}": "0xADDRESS",
    r"\b\d+\.\d+ ?(?:ms|s|sec|seconds|min|minutes)\b": "TIME",
    r"/tmp/[\w./-]+": "TEMPORARY",
}


def pytest_collectstart(collector):
    if hasattr(collector, "sanitize_patterns"):  # a notebook under --nbval
        collector.skip_compare += SKIP
        collector.sanitize_patterns.update(SANITIZE)

"""Every notebook's cells run in the profile "gsm8k", with real problems and the real tokenizer.

The model's weights are random, so nothing is said of what a reader would see there. The notebook
that trains runs with the real student too, on a few problems.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from random_qwen import random_qwen

TESTS = Path(__file__).resolve().parent
NOTEBOOKS = sorted((TESTS.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def model(tokenizer_dir, tmp_path_factory):
    return random_qwen(tokenizer_dir, tmp_path_factory.mktemp("model") / "student")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_every_cell_runs(gsm8k_dir, model, notebook, tmp_path):
    assert played(notebook, model, gsm8k_dir, tmp_path) > 10


def test_the_training_notebook_runs_with_the_real_student(gsm8k_dir, real_student_dir, tmp_path):
    few = tmp_path / "gsm8k"
    few.mkdir()
    for name, count in {"train.jsonl": 60, "test.jsonl": 16}.items():
        lines = (gsm8k_dir / name).read_text(encoding="utf-8").splitlines(True)
        (few / name).write_text("".join(lines[:count]), encoding="utf-8")
    (notebook,) = [path for path in NOTEBOOKS if path.name.startswith("07")]
    assert played(notebook, real_student_dir, few, tmp_path / "runs") > 10


def played(notebook: Path, model: Path, gsm8k: Path, runs: Path) -> int:
    """The number of cells that ran."""
    done = subprocess.run(
        [sys.executable, TESTS / "played_notebook.py", notebook, model],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"SGPO_GSM8K_DIR": str(gsm8k), "SGPO_RUNS": str(runs)},
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.split()[-2])

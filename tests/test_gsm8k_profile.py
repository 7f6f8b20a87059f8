"""Every notebook's cells run in the profile "gsm8k", with real problems and the real tokenizer.

The model's weights are random, so nothing is said of what a reader would see there.
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
    done = subprocess.run(
        [sys.executable, TESTS / "played_notebook.py", notebook, model],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"SGPO_GSM8K_DIR": str(gsm8k_dir), "SGPO_RUNS": str(tmp_path)},
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-2]) > 10

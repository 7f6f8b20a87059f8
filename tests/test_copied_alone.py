"""`sgpo_mini/` copied alone into an empty folder works: lecturers copy it into coursework."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "sgpo_mini"

SCRIPT = """
import sgpo_mini
from sgpo_mini import Config, load_student, make_problems, train
student = load_student("tiny")
before = [p.detach().clone() for p in student.model.parameters()]
config = Config(steps=2, learning_rate=1e-4, max_new_tokens=40, threads=1, out="run")
train(student, make_problems("train"), config)
changed = any((a != b).any() for a, b in zip(before, student.model.parameters()))
print(sgpo_mini.__file__, bool(changed))
"""


def test_a_copy_in_an_empty_folder_trains_two_steps(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "sgpo_mini", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        encoding="utf-8",
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(tmp_path / "sgpo_mini" / "__init__.py"), "True"]
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()
    assert len((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 2

"""`sgpo_mini/`, or its core alone, copied into an empty folder works: lecturers copy it."""

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

OWN_DOMAIN = """
from sgpo_mini import Config, Problem, Strategy, evaluate, new_student, train
strategy = Strategy("sum", "add the two", ("Add both numbers",)).text
problems = [
    Problem(str(n), f"What is {n} and 1 ?", str(n + 1), strategy=strategy) for n in range(4)
]
student = new_student([p.question for p in problems] + [strategy, "#### 1 2 3 4"], 1, 32)
config = Config(steps=2, problems_per_step=2, learning_rate=1e-3, max_new_tokens=8, threads=1)
train(student, problems, config)
print(len(evaluate(student, problems, guided=True, max_new_tokens=8).correct))
"""


def run_in(folder, script):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        encoding="utf-8",
    )
    assert ran.returncode == 0, ran.stderr
    return ran


def test_the_core_alone_without_any_wing_trains_a_student_of_ones_own(tmp_path):
    copy = tmp_path / "sgpo_mini"
    shutil.copytree(PACKAGE / "support", copy / "support")
    for path in PACKAGE.glob("*.py"):
        shutil.copy(path, copy)
    assert run_in(tmp_path, OWN_DOMAIN).stdout.split() == ["4"]


def test_a_copy_in_an_empty_folder_trains_two_steps(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "sgpo_mini", ignore=shutil.ignore_patterns("__pycache__"))
    ran = run_in(tmp_path, SCRIPT)
    assert ran.stdout.split() == [str(tmp_path / "sgpo_mini" / "__init__.py"), "True"]
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()
    assert len((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 2

"""The study's helpers, without a model: tasks that run once, its tables, its packed copy."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from across import across
from tables import report
from tasks import Task, Tasks

HERE = Path(__file__).parent
ORDER = ("grpo", "sgpo", "sft")


def test_a_task_runs_once_and_a_failed_one_tells_the_end_of_its_log(tmp_path, capsys):
    script = (
        "import sys; open(sys.argv[1], 'a').write('x'); print('said'); sys.exit(len(sys.argv) > 2)"
    )
    good = Task("good", ("-c", script, str(tmp_path / "good")))
    bad = Task("bad", ("-c", script, str(tmp_path / "bad"), "--fail"))
    tasks = Tasks(tmp_path, 2, {})
    with pytest.raises(SystemExit, match="bad failed; the end of .*bad.txt:\nsaid"):
        tasks.run("stage", [good, bad])
    tasks.run("stage", [good])
    tasks.run("stage", [good])
    assert (tmp_path / "good").read_text(encoding="utf-8") == "x" and tasks.done("good").is_file()
    assert not tasks.done("bad").exists() and "0 of 2 done" in capsys.readouterr().out


def test_as_many_tasks_as_asked_run_at_a_time_and_a_started_run_resumes(tmp_path):
    sleeping = [Task(f"s{i}", ("-c", "import time; time.sleep(1)")) for i in range(4)]
    began = time.time()
    Tasks(tmp_path, 4, {}).run("stage", sleeping)
    assert time.time() - began < 4
    task = Task("run", ("-m", "sgpo_mini"), run=str(tmp_path))
    assert task.words() == [sys.executable, "-m", "sgpo_mini"]
    (tmp_path / "config.json").touch()
    assert task.words()[-1] == "--resume"


def test_a_task_waits_for_those_before_it(tmp_path):
    script = "import sys, time; time.sleep(0.5); print(open(sys.argv[1], 'a').write(sys.argv[2]))"
    told = str(tmp_path / "told")
    late = Task("late", ("-c", script, told, "2"), after=("early",))
    early = Task("early", ("-c", script, told, "1"))
    Tasks(tmp_path, 2, {}).run("stage", [late, early])
    assert Path(told).read_text(encoding="utf-8") == "12"


@pytest.fixture
def study(tmp_path) -> Path:
    """A finished study of 10 problems and two seeds."""
    out = tmp_path / "study"

    def write(name: str, *rows) -> None:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    write("settings.json", {"seeds": [0, 1], "steps": 2})
    tried = {"epochs": 2, "temperature": 0.8, "unguided": 0.1, "guided": 0.25}
    write("warm-up.json", tried | {"enough": True, "tried": [tried]})
    rate = {"rate": 1e-4, "unguided": 0.2, "guided": 0.3}
    write("rates.json", dict.fromkeys(ORDER, 1e-4) | {"tried": {m: [rate] for m in ORDER}})
    right = {"warm": 1, "grpo-0": 2, "grpo-1": 3, "sgpo-0": 5, "sgpo-1": 4, "sft-0": 2, "sft-1": 2}
    for name, count in right.items():
        for kind, samples in (("greedy", 1), ("avg4", 4)):
            rows = [
                {"id": f"p{i}", "correct": i < count and j % 2 == 0, "truncated": False,
                 "completion": "secret", "question": "theirs"}
                for i in range(10) for j in range(samples)
            ]  # fmt: skip
            write(f"answers/{name}-{kind}/unguided.jsonl", *rows)
        write(f"done/{name}.json", {"command": "x", "minutes": 2.5})
        if name != "warm":
            logged = {"alpha": 0.5, "kl": 0.1, "validation_accuracy": count / 10}
            logged["p_auto"] = count / 10
            write(f"runs/{name}/metrics.jsonl", *({"step": s, **logged} for s in (1, 2)))
            seconds = 45.0 if name.startswith("sgpo") else 30.0
            times = {"seconds": seconds, "rollout_seconds": 20.0, "sampled_tokens": 100}
            write(f"runs/{name}/timings.jsonl", *({"step": s, **times} for s in (1, 2)))
            write(f"runs/{name}/config.json", {"method": name})
    write("warm/metrics.jsonl", {"step": 1, "loss": 1.0})
    names = "targets tokens above_1 kl_above_1 largest_tenth several_right one_text"
    shares = dict.fromkeys([*names.split(), "target_not_first"], 0.0)
    write("kl-warm.json", shares | {"several_right": 3, "one_text": 1, "counts": [1, 2]})
    table = ["| prompt |", "| --- |", "| p_auto |", "", "10 problems, 4 samples each; so"]
    (out / "logs").mkdir()
    log = "\n".join(["a bar\rmore", *table, "", "SGPO has something to teach here."])
    (out / "logs" / "measure-warm.txt").write_text(log, encoding="utf-8")
    return out


def test_the_tables_have_what_was_answered(study):
    text = report(study).read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if "two calculations, greedy" in line)
    cells = [cell.split(" (")[0].strip() for cell in row.strip("| ").split("|")]
    assert cells[1:] == ["unguided", "10.0", "25.0", "45.0", "20.0", "20.0", "20.0"]
    assert "20.0 (-107.1 to 147.1)" in row  # t over two seeds: differences 30 and 10
    row = next(line for line in text.splitlines() if "two calculations, pass@4" in line)
    assert "| 45.0 (" in row  # half of the samples of these problems are right
    row = next(line for line in text.splitlines() if "two calculations, avg@4" in line)
    assert "| 22.5 (" in row
    for words in (
        "Chosen: 2 epochs, rollouts at temperature 0.8.",
        "| grpo | 0.0001 | 20.0 | 30.0 | chosen |",
        "10 problems, 4 samples each; so\n\nSGPO has something to teach here.",
        "| after 1.0 minutes | 25.0",
        "| alpha | 0.500 |",
        "| seconds | 30.0 |",
        "| steps 2 to 2 | 25.0 (",
        "| at equal time (SGPO's step 1 to 1) | 25.0 (",
        "| warm | 0.0 | 0.0 | 0.0% | 0.0% | 0.0% | 3 | 2 | 0.0 | 1 2 |",
    ):
        assert words in text, words


def test_what_has_not_run_is_left_out(study):
    for path in [*study.glob("answers/sgpo-1-greedy/*"), *study.glob("kl-*"), study / "rates.json"]:
        path.unlink()
    choice = {"epochs": 2, "temperature": 0.8, "tried": []}
    (study / "warm-up.json").write_text(json.dumps(choice), encoding="utf-8")
    (study / "answers/sft-0-greedy/unguided.jsonl").unlink()
    text = report(study).read_text(encoding="utf-8")
    assert "| two calculations, avg@4, 2 seeds (10) |" in text
    row = next(line for line in text.splitlines() if "two calculations, greedy, 1 seed" in line)
    assert row.split(" | ")[3:6] == ["20.0", "50.0", ""]  # of seed 0; SFT's has not been run
    assert "KL by token" not in text and "Learning rates" not in text
    assert "\n\nWarm-up: 2 epochs; rollouts at temperature 0.8, chosen before" in text


def test_the_packed_study_makes_the_same_report_without_theirs(study):
    packed = study.parent / "packed"
    for folder in (packed, study.parent / "again"):
        command = [sys.executable, str(HERE / "pack.py"), str(study), str(folder)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        assert done.returncode == 0 and " MB" in done.stdout, done.stderr
    assert (packed / "report.md").read_text(encoding="utf-8") == report(study).read_text(
        encoding="utf-8"
    )
    files = sorted(path.relative_to(packed) for path in packed.rglob("*") if path.is_file())
    for file in files:
        assert (packed / file).read_bytes() == (study.parent / "again" / file).read_bytes()
    assert json.loads((packed / "minutes.json").read_text(encoding="utf-8"))["sgpo-0"] == 2.5
    assert not any(file.suffix == ".jsonl" for file in files)
    texts = {
        kind: packed / f"answers/sgpo-0-{kind}/unguided.jsonl.gz" for kind in ("greedy", "avg4")
    }
    greedy, avg4 = (gzip.decompress(path.read_bytes()).decode() for path in texts.values())
    assert "secret" in greedy and "secret" not in avg4 and "theirs" not in greedy + avg4


def test_a_single_rate_is_told_without_tries(study):
    fixed = dict.fromkeys(ORDER, 3e-4) | {"tried": {m: [] for m in ORDER}}
    (study / "rates.json").write_text(json.dumps(fixed), encoding="utf-8")
    text = report(study).read_text(encoding="utf-8")
    assert "Learning rate of every method: 0.0003, chosen before the study." in text


def test_the_seeds_of_several_studies_stand_in_one_table(study):
    (study / "answers/sgpo-1-greedy/unguided.jsonl").unlink()
    lines = [line.strip("| ").split(" | ") for line in across([study, study]).splitlines()]
    assert lines[0][:6] == ["study", "seed", *"alone: warm|alone: grpo|alone: sgpo".split("|"),
                            "alone: sgpo - grpo"]  # fmt: skip
    first, second = lines[2], lines[3]
    assert first[:6] == ["study", "0", "10.0", "20.0", "50.0", "30.0"]
    assert first[10:] == ["20.0", "50.0", "30.0"]  # in training; guided was not answered
    assert second[1:6] == ["1", "", "", "", ""] and second[10:] == ["30.0", "40.0", "10.0"]
    assert lines[-1][5] == "30.0 (30.0 to 30.0)" and lines[-1][-1].startswith("20.0 (1.6 to 38.4")

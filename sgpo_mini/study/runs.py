"""Train and evaluate several configurations with several seeds, in parallel processes.

Each run (a configuration and a seed) has its own folder and its own process with one thread; as
many processes run at a time as there are cores. Finished runs are not repeated, and stopped runs
are resumed.

The process of a run is `python -m sgpo_mini.study.runs`, a program of its own, so `compare` works
in a notebook too. It reads its job from standard input. When standard input closes, it saves a
checkpoint and stops, so it never outlives its caller. It has a session of its own, so Ctrl-C
reaches only the caller.
"""

import json
import os
import subprocess
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from ..checkpoints import DIGESTS
from ..evaluation import evaluate
from ..mini_gsm.pretraining import MAX_NEW_TOKENS
from ..student import load_student
from ..support.digests import changed_digests, digests_of_student
from ..support.files import locked, read_json, write_whole
from ..training import Config, train
from .evaluations import answers_path, student_folder
from .sampled import measure_sampled
from .worlds import problems_in, training_problems

_WEIGHTS = "student's model.safetensors"  # messages call it "weights"


@dataclass(frozen=True)
class Job:
    """One run: what to train (nothing, if there are no steps) and which splits to evaluate."""

    folder: Path
    config: Config
    splits: tuple[str, ...]
    control: str = ""  # a name in `controls.CONTROLS`, applied to the training problems


def compare(
    configs: dict[str, Config],
    seeds: Sequence[int],
    out: str | Path,
    splits: Sequence[str],
    controls: Mapping[str, str] | None = None,
    when_done: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Train every configuration with every seed, and evaluate each run on the splits.

    All have one student and one world (`Config.data`). `controls` maps a configuration's name to
    the change of its training problems, if it has one (`controls.CONTROLS`).
    Writes the folders out/base and out/NAME-SEED, and calls `when_done` with each folder once its
    run is finished. Ctrl-C stops all runs after the current step; the same call resumes them.
    Raises ValueError, before anything starts, if a configuration is invalid, a folder holds a
    run with other settings or another student, or another comparison uses `out`; RuntimeError if a
    run fails.
    """
    for config in configs.values():
        config.check()
    first = next(iter(configs.values()))
    if not student_folder(first.student).is_dir():
        raise ValueError(
            f"{first.student} is no folder with a student: give --student tiny, or a folder that "
            "`python -m sgpo_mini pretrain` made"
        )
    for split in splits:
        problems_in(first.data, split)  # raises ValueError for an unknown split
    out = Path(out)
    base = Config(student=first.student, data=first.data, steps=0)
    jobs = [Job(out / "base", base, tuple(splits))]
    for seed in seeds:
        for name, config in configs.items():
            folder = out / f"{name}-{seed}"
            config = replace(config, seed=seed, out=str(folder), threads=1, resume=False)
            jobs.append(Job(folder, config, tuple(splits), (controls or {}).get(name, "")))
    with locked(out / "compare.lock", out):
        waiting = [job for job in jobs if not _is_finished(job)]
        for job in [job for job in jobs if job not in waiting]:
            when_done(job.folder)
        if waiting:
            _run_all(waiting, when_done)


def _is_finished(job: Job) -> bool:
    """Whether a run has been trained and evaluated; ValueError if it had other settings."""
    asked, saved = _asked(job), _asked(job)
    given, mend = _given(job), f"remove {job.folder} and repeat the call"
    finished = (job.folder / "evaluated.json").exists()
    if finished:
        evaluated = read_json(job.folder / "evaluated.json", mend)
        saved, before = evaluated["asked"], evaluated.get(DIGESTS, given)
    elif (job.folder / "config.json").exists():  # stopped before the end
        saved["config"] = read_json(job.folder / "config.json", mend)
        before = saved["config"].get(DIGESTS, given)
        before = {name: digest for name, digest in before.items() if name in given}
    else:
        before = given
    # Runs of earlier versions have no "control".
    other = [
        name for name in ("splits", "weights", "control") if saved.get(name, "") != asked[name]
    ]
    # A setting that was added after the run was made had today's default.
    saved["config"] = asdict(Config()) | saved["config"]
    other += [n for n, value in asked["config"].items() if saved["config"][n] != value]
    other += [name for name in changed_digests(before, given) if name != _WEIGHTS]
    if other:
        raise ValueError(
            f"{job.folder} holds a run with other settings ({', '.join(other)}): give another --out"
        )
    return finished


def _given(job: Job) -> dict[str, str]:
    """The digests of the student's files."""
    return digests_of_student((str(student_folder(job.config.student)),))


def _asked(job: Job) -> dict:
    """Everything that the result depends on; the student is identified by its weights' digest."""
    settings = asdict(job.config)
    del settings["out"], settings["resume"]
    splits, weights = list(job.splits), _given(job).get(_WEIGHTS)
    return {"config": settings, "splits": splits, "weights": weights, "control": job.control}


def _run_all(jobs: Sequence[Job], when_done: Callable[[Path], None]) -> None:
    """Run the jobs, with one progress bar over all training steps, read from the runs' logs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    waiting, running, done, told = list(jobs), {}, 0, set()
    total = sum(job.config.steps for job in jobs)
    try:
        with tqdm(total=total, desc="training steps of all runs") as bar:
            while waiting or running:
                while waiting and len(running) < (cores or 1):
                    job = waiting.pop(0)
                    running[_start(job)] = job
                time.sleep(0.2)
                for job in running.values():
                    _pass_on(job, told)
                for worker in [worker for worker in running if worker.poll() is not None]:
                    job = running.pop(worker)
                    _pass_on(job, told)
                    _close(worker, job)
                    when_done(job.folder)
                    done += 1
                logs = [job.folder / "metrics.jsonl" for job in jobs]
                bar.n = sum(log.read_bytes().count(b"\n") for log in logs if log.exists())
                bar.set_postfix_str(f"{done} of {len(jobs)} runs measured", refresh=False)
                bar.refresh()
    finally:
        for worker in running:
            worker.stdin.close()  # the worker finishes its step, saves and exits
        for worker in running:
            worker.wait()


def _start(job: Job) -> subprocess.Popen:
    """Start one run's process; its output stays in the run's folder until the run succeeds."""
    job.folder.mkdir(parents=True, exist_ok=True)
    home = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    with open(job.folder / "messages.txt", "wb") as messages:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "sgpo_mini.study.runs"],
            stdin=subprocess.PIPE,
            stdout=messages,
            stderr=messages,
            # The parent shows one bar for all runs, and reads messages.txt as UTF-8.
            env=os.environ | {"PYTHONPATH": paths, "TQDM_DISABLE": "1", "PYTHONUTF8": "1"},
            start_new_session=True,  # only the parent gets Ctrl-C; it stops its workers
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    asked = asdict(replace(job, folder=str(job.folder)))
    worker.stdin.write(json.dumps(asked).encode() + b"\n")
    worker.stdin.flush()
    return worker


def _pass_on(job: Job, told: set[tuple[Path, str]]) -> None:
    """Print the warnings of a run, each once."""
    lines = (job.folder / "messages.txt").read_text("utf-8", errors="replace").split("\n")
    for line in lines[:-1]:  # the last line may be incomplete
        if line.startswith("sgpo_mini: ") and (job.folder, line) not in told:
            told.add((job.folder, line))
            tqdm.write(f"{line} [{job.folder.name}]", file=sys.stderr)


def _close(worker: subprocess.Popen, job: Job) -> None:
    """Clean up after a run has ended; RuntimeError, with its last line of output, if it failed."""
    worker.stdin.close()
    messages = job.folder / "messages.txt"
    if worker.returncode == 0:
        messages.unlink()
        return
    text = messages.read_text(encoding="utf-8", errors="replace")
    said = [line for line in text.split("\n") if line.strip()]
    last = said[-1] if said and worker.returncode > 0 else f"exit status {worker.returncode}"
    raise RuntimeError(f"the run in {job.folder} stopped: {last} (full output: {messages})")


def _work() -> None:
    """Do the job that standard input describes."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_when_input_closes, daemon=True).start()
    folder, config, splits = asked["folder"], Config(**asked["config"]), tuple(asked["splits"])
    job = Job(Path(folder), config, splits, asked["control"])
    try:
        _run(job)
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(str(error))


def _stop_when_input_closes() -> None:
    os.read(sys.stdin.fileno(), 1)
    interrupt_main()  # as Ctrl-C would


def _run(job: Job) -> None:
    """Train, if there are steps, and evaluate each split: greedily, and by samples."""
    torch.set_num_threads(1)
    student, data = load_student(job.config.student), job.config.data
    if job.config.steps:
        config = replace(job.config, resume=(job.folder / "config.json").exists())
        problems = training_problems(config, job.control)
        train(student, problems, config, validation=problems_in(data, "validation"))
    (job.folder / "answers").mkdir(parents=True, exist_ok=True)
    for split in job.splits:
        problems = problems_in(data, split)
        for guided in (False, True):
            evaluation = evaluate(student, problems, guided=guided, max_new_tokens=MAX_NEW_TOKENS)
            evaluation.save(answers_path(job.folder, split, guided))
        measure_sampled(student, problems, job.folder / "answers" / f"{split}.json")
    evaluated = {"asked": _asked(job), DIGESTS: _given(job)}
    write_whole(job.folder / "evaluated.json", json.dumps(evaluated))


if __name__ == "__main__":
    _work()

"""Commands that run a few at a time, each once: a finished one is not repeated.

A task's output goes to logs/NAME.txt. When it has succeeded, done/NAME.json says so, with its
command and its minutes; a task that was killed starts again, and resumes if its command can.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SGPO = ("-m", "sgpo_mini")


@dataclass(frozen=True)
class Task:
    """A command of Python's, as `python COMMAND`."""

    name: str
    command: tuple[str, ...]
    run: str = ""  # the folder of a run that --resume continues
    after: tuple[str, ...] = ()  # tasks that must have succeeded before

    def words(self) -> list[str]:
        started = self.run and (Path(self.run) / "config.json").is_file()
        return [sys.executable, *self.command, *(["--resume"] if started else [])]


class Tasks:
    def __init__(self, out: Path, parallel: int, environment: dict[str, str]):
        self.out, self.parallel, self.began = out, parallel, time.time()
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | environment
        for name in ("logs", "done"):
            (out / name).mkdir(parents=True, exist_ok=True)

    def done(self, name: str) -> Path:
        return self.out / "done" / f"{name}.json"

    def log(self, name: str) -> Path:
        return self.out / "logs" / f"{name}.txt"

    def run(self, stage: str, tasks: list[Task]) -> None:
        """Run what is not done yet, the first ones first; exits with the log of one that fails."""
        waiting = [task for task in tasks if not self.done(task.name).is_file()]
        self.say(f"{stage}: {len(tasks) - len(waiting)} of {len(tasks)} done")
        running: dict[subprocess.Popen, tuple[Task, float]] = {}
        told = time.time()
        try:
            while waiting or running:
                ready = [t for t in waiting if all(self.done(n).is_file() for n in t.after)]
                for task in ready[: self.parallel - len(running)]:
                    waiting.remove(task)
                    running[self.start(task)] = task, time.time()
                time.sleep(0.2)
                for process in [p for p in running if p.poll() is not None]:
                    self.finish(process, *running.pop(process))
                if running and time.time() - told > 120:
                    told = time.time()
                    self.say("; ".join(self.progress(task) for task, _ in running.values()))
        finally:  # Ctrl-C reaches the processes too; a failed task ends the others
            for process in running:
                process.send_signal(signal.SIGINT)
            for process in running:
                process.wait()

    def start(self, task: Task) -> subprocess.Popen:
        self.say(f"{task.name} starts")
        with open(self.log(task.name), "w", encoding="utf-8") as log:
            return subprocess.Popen(
                task.words(), stdout=log, stderr=log, env=self.environment, stdin=subprocess.DEVNULL
            )

    def finish(self, process: subprocess.Popen, task: Task, began: float) -> None:
        log = self.log(task.name).read_text(encoding="utf-8").replace("\r", "\n")
        if process.returncode:
            sys.exit(f"{task.name} failed; the end of {self.log(task.name)}:\n{log[-2000:]}")
        minutes = round((time.time() - began) / 60, 2)
        result = {"command": shlex.join(task.command), "minutes": minutes}
        self.done(task.name).write_text(json.dumps(result) + "\n", encoding="utf-8")
        self.say(f"{task.name} done in {minutes:.1f} minutes")

    def progress(self, task: Task) -> str:
        path = Path(task.run or "?") / "metrics.jsonl"
        steps = len(path.read_bytes().splitlines()) if path.is_file() else 0
        return f"{task.name} at step {steps}" if steps else f"{task.name} running"

    def say(self, text: str) -> None:
        seconds = round(time.time() - self.began)
        print(f"[{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}] {text}", flush=True)

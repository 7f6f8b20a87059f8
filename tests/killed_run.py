"""A training run that kills itself with SIGKILL where it is told to: see test_checkpoints.py.

killed_run.py STUDENT OUT PLACES, with PLACES a JSON list of [place, step]. For each a process is
forked that starts or resumes the run in OUT and dies at that place of that step. Prints, a line for
each, the place, the process's exit status and the checkpoint folders that it left.
"""

import json
import os
import signal
import sys

import torch
from small_world import config, even_reward, problems

from sgpo_mini import checkpoints, methods, training
from sgpo_mini.checkpoints import RunFolder
from sgpo_mini.student import load_student

STEPS = 8
step_now = 0  # counted from 1


def die_before(owner, name, step, when=lambda *arguments: True):
    """Kill the process where the function `name` of `owner` is called in a step."""
    real = getattr(owner, name)

    def patched(*arguments, **settings):
        if step_now == step and when(*arguments):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **settings)

    setattr(owner, name, patched)


def count_steps():
    real = training._seed_of

    def counting(seed, step):
        global step_now
        step_now = step + 1
        return real(seed, step)

    training._seed_of = counting


def log_half_a_line(self, name, row):
    line = json.dumps(row)
    with open(self.path / f"{name}.jsonl", "a", encoding="utf-8") as file:
        file.write(line[: len(line) // 2])
    return True


PLACES = {
    "sampling": (methods, "sample"),
    "update": (torch.optim.AdamW, "zero_grad"),  # the weights have moved, nothing is written yet
    "half a line of the log": (RunFolder, "log", log_half_a_line),
    "between log and checkpoint": (RunFolder, "save_checkpoint"),
    "a save: after the weights": (checkpoints, "save_file", lambda _, to: "optimizer" in to.name),
    "a save: before the rename": (os, "replace", lambda _, to: to.name.startswith("step-")),
    "a save: before the old one goes": (checkpoints.shutil, "rmtree"),
    "saving the trained student": (RunFolder, "save_student"),
}


def main(student_folder, out, places):
    torch.set_num_threads(1)
    for number, (place, step) in enumerate(places):
        child = os.fork()
        if child == 0:
            count_steps()
            if place in PLACES:
                owner, name, *when = PLACES[place]
                die_before(owner, name, step, *when)
            student = load_student(student_folder, device="cpu")
            settings = config(steps=STEPS, out=out, resume=number > 0)
            training.train(student, problems(), settings, reward=even_reward)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        folder = os.path.join(out, "checkpoints")
        left = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        print(json.dumps([place, status, left]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))

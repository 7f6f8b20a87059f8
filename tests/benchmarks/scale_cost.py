"""A step of SGPO through TRL beside a step of our loop: CPU time, wall time, peak memory.

    python tests/benchmarks/scale_cost.py --busy

Needs the extra `scale`. The shipped student on mini-GSM: 8 problems, 8 autonomous and 4 guided
rollouts each, its own lengths (at most 40 tokens), real rewards, float32, one thread. Each side is
a process of its own; they work in turn, a step a request. Medians over the rounds, after one that
does not count. Writes sgpo_mini/results/scale-cost.json and prints the table of the page. `--table`
prints it from the file.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from in_turn import Process, Worker, forget_peak

RESULTS = Path(__file__).parents[2] / "sgpo_mini" / "results" / "scale-cost.json"
WORKER = "SGPO_SCALE_COST_WORKER"  # set for the processes that `Process` starts
SIDES = {
    "our loop": {"side": "ours"},
    "TRL, all 64 rows at once": {"side": "trl", "micro_batch": 0},
    "TRL, micro-batches of 8": {"side": "trl", "micro_batch": 8},
}


def main() -> None:
    if WORKER in os.environ:
        return work()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--busy", action="store_true", help="the machine has other work too")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not options.table:
        options.out.write_text(json.dumps(measure(options), indent=1) + "\n", encoding="utf-8")
    print(table(json.loads(options.out.read_text(encoding="utf-8"))))


def measure(options) -> dict:
    import torch
    from trl import __version__

    quiet = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", WORKER: "1"}
    steps: dict[str, list] = {name: [] for name in SIDES}
    with ExitStack() as stack:
        workers = {}
        for name, job in SIDES.items():
            job = job | {"steps": options.rounds + 1}
            process = Process(sys.executable, Path(__file__), job, quiet)
            workers[name] = stack.enter_context(process)
            workers[name].answer()
        for _ in range(options.rounds + 1):
            for name, worker in workers.items():
                steps[name].append(worker.ask())
    rows = {}
    for name, answers in steps.items():
        wall, cpu = zip(*(answer["seconds"]["step"] for answer in answers[1:]), strict=True)
        rows[name] = {
            "cpu_seconds": round(statistics.median(cpu), 3),
            "wall_seconds": round(statistics.median(wall), 3),
            "peak_mebibytes": round(max(answer["peak_memory"] for answer in answers) / 2**20),
        }
    versions = {"trl": __version__, "torch": torch.__version__}
    command = "python tests/benchmarks/scale_cost.py" + (" --busy" if options.busy else "")
    return {"command": command, "rounds": options.rounds, "versions": versions, "rows": rows}


def table(results: dict) -> str:
    lines = ["| a step, 1 thread | CPU s | ÷ ours | peak MiB |", "| --- | --- | --- | --- |"]
    first = results["rows"]["our loop"]["cpu_seconds"]
    for name, row in results["rows"].items():
        ratio = row["cpu_seconds"] / first
        lines.append(
            f"| {name} | {row['cpu_seconds']:.2f} | {ratio:.1f} | {row['peak_mebibytes']:,} |"
        )
    return "\n".join(lines)


# ---- the worker


def work() -> None:
    import torch

    worker = Worker()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        (our_steps if worker.job["side"] == "ours" else trl_steps)(worker, folder)


def our_steps(worker: Worker, folder: str) -> None:
    import torch

    from sgpo_mini import methods
    from sgpo_mini.config import Config
    from sgpo_mini.mini_gsm.pretraining import settings_for
    from sgpo_mini.mini_gsm.world import make_problems
    from sgpo_mini.problems import numeric_reward
    from sgpo_mini.student import load_student
    from sgpo_mini.supervised import gradient_scaler
    from sgpo_mini.training import _update, batch_of_step

    student, problems = load_student("tiny", device="cpu"), list(make_problems("train"))
    student.model.eval()
    config = Config(**settings_for("mini-gsm", "sgpo"))
    optimizer = torch.optim.AdamW(
        student.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    scaler, step = gradient_scaler(student), count()
    worker.answer()
    for _ in worker.requests():
        forget_peak()
        batch = batch_of_step(problems, config.problems_per_step, 0, next(step))
        with worker.measured("step"):
            experience = methods.collect(student, batch, config, numeric_reward)
            _update(student, optimizer, scaler, experience, config)
        worker.answer()


def trl_steps(worker: Worker, folder: str) -> None:
    from transformers import TrainerCallback

    from sgpo_mini.scale import train, trainer

    class Done(Exception):
        pass

    class OneStepARequest(TrainerCallback):
        def __init__(self):
            self.requests, self.step = worker.requests(), None

        def on_train_begin(self, args, state, control, **kwargs):
            worker.answer()

        def on_step_begin(self, args, state, control, **kwargs):
            if next(self.requests, None) is None:
                raise Done
            forget_peak()
            self.step = worker.measured("step")
            self.step.__enter__()

        def on_step_end(self, args, state, control, **kwargs):
            self.step.__exit__(None, None, None)
            worker.answer()

    real = trainer.SGPOTrainer.__init__

    def with_callback(self, *arguments, **settings):
        real(self, *arguments, callbacks=[OneStepARequest()], **settings)

    trainer.SGPOTrainer.__init__ = with_callback
    options = ["--steps", worker.job["steps"], "--micro-batch", worker.job["micro_batch"]]
    options += ["--checkpoint-every", 1000, "--threads", 1, "--out", f"{folder}/run"]
    try:
        train.main([str(option) for option in options])
    except Done:
        pass


if __name__ == "__main__":
    main()

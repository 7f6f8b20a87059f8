"""The whole study of the real student on GSM8K, stage by stage; the same command resumes it.

    python tests/real_student/make.py FOLDER
    export SGPO_REAL_STUDENT_DIR=FOLDER SGPO_GSM8K_DIR=...
    python tests/real_student/run.py --out runs/real-student

Every stage is made of `python -m sgpo_mini` commands, one thread each, two at a time (--parallel);
they are in OUT/done with their minutes. The weights take about 7 GB. The stages:

1. strategies from the worked solutions of train and test;
2. a mixed warm-up on the part `warmup`, which grows (--epochs 1, 2, ...) until guided accuracy at
   one of the rollouts' temperatures reaches `enough` on `validation`;
3. before training: p_auto, p_guide, both controls, and the KL by token, on `validation`;
   beside it a learning rate for each method, from the same tries, on `validation`;
4. SGPO, GRPO and SFT from the same student, three seeds each, on the part `rl`; each one's
   evaluations on `test`, which no choice has seen, and p_guide and the controls after training;
5. OUT/report.md with all tables (tables.py; it can be run at any time).

`--tiny` tries all of this with tiny numbers. `--set steps=100` changes a setting of `Study`.
"""

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from tables import accuracy_of, report
from tasks import SGPO, Task, Tasks

METHODS = ("sgpo", "grpo", "sft")


@dataclass(frozen=True)
class Study:
    """Every number that the study depends on."""

    lines: int = 0  # use only the first lines of GSM8K's files; 0: all
    calculations: int = 2
    new_calculations: int = 3  # of test problems unlike the training problems
    warm_epochs: tuple[int, ...] = (1, 2, 3, 4)
    warm_batch: int = 16
    warm_threads: int = 2  # it runs alone
    warm_rate: float = 1e-4
    temperatures: tuple[float, ...] = (1.0, 0.8, 0.6)
    enough: float = 0.2  # p_guide: below it, C is empty in most groups of 4
    swept: int = 80  # validation problems in a sweep
    samples: int = 4
    rates: tuple[float, ...] = (3e-5, 1e-4, 3e-4)
    sweep_steps: int = 30
    sweep_seed: int = 100
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 60
    sft_steps: int = 60  # of 48 solutions each: without rollouts, but longer updates
    problems_per_step: int = 4
    autonomous_rollouts: int = 8
    guided_rollouts: int = 4
    lora_rank: int = 16
    dtype: str = "auto"  # what students compute in; on a CPU with AMX "bfloat16" is faster
    max_new_tokens: int = 128
    whole_max_new_tokens: int = 192  # on the whole test split
    micro_batch_tokens: int = 2048
    evaluate_every: int = 20
    tested: int = 0  # the first problems of each test set; 0: all
    evaluation_batch: int = 0  # completions at a time; 0: as many as memory allows one process


TINY = Study(
    lines=60, warm_epochs=(1, 2), warm_batch=4, temperatures=(1.0, 0.5), swept=3, samples=2,
    rates=(1e-4, 3e-4), sweep_steps=1, seeds=(0, 1), steps=2, sft_steps=2, problems_per_step=1,
    autonomous_rollouts=2, guided_rollouts=1, lora_rank=4, max_new_tokens=12,
    whole_max_new_tokens=12, evaluate_every=1, tested=3,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/real-student"))
    parser.add_argument("--parallel", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--tiny", action="store_true", help="tiny numbers, to try the script")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    for variable in ("SGPO_REAL_STUDENT_DIR", "SGPO_GSM8K_DIR"):
        if not os.environ.get(variable):
            sys.exit(f"{variable} is not set: see the head of {__file__}")
    study = settings(options.out, TINY if options.tiny else Study(), options.set)
    data = few_lines(options.out, study.lines) if study.lines else os.environ["SGPO_GSM8K_DIR"]
    Run(options.out, study, Tasks(options.out, options.parallel, {"SGPO_GSM8K_DIR": data})).all()


def settings(out: Path, study: Study, changes: list[str]) -> Study:
    """The settings of this study; exits if OUT holds a study with others."""
    names = {field.name for field in fields(Study)}
    for name, _, value in (change.partition("=") for change in changes):
        if name not in names:
            sys.exit(f"there is no setting {name!r}; choose of {', '.join(sorted(names))}")
        read = json.loads(value)
        study = replace(study, **{name: tuple(read) if isinstance(read, list) else read})
    path, text = out / "settings.json", json.dumps(asdict(study), indent=1) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path} holds other settings: give the same ones, or another --out")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return study


def few_lines(out: Path, count: int) -> str:
    """A folder with the first lines of GSM8K's files."""
    folder = out / "gsm8k"
    folder.mkdir(exist_ok=True)
    for name in ("train.jsonl", "test.jsonl"):
        whole = Path(os.environ["SGPO_GSM8K_DIR"], name).read_text(encoding="utf-8")
        (folder / name).write_text("".join(whole.splitlines(True)[:count]), encoding="utf-8")
    return str(folder)


class Run:
    """The stages; `out` is the study's folder."""

    def __init__(self, out: Path, study: Study, tasks: Tasks):
        self.out, self.study, self.tasks = out, study, tasks
        self.within = ("--calculations", str(study.calculations))
        self.dtype = ("--dtype", study.dtype)
        self.one_thread = ("--threads", "1", *self.dtype)

    def all(self) -> None:
        self.strategies()
        choice = self.choose("warm-up", self.warm_up)
        rates = self.choose("rates", lambda: self.choose_rates(choice))
        self.tasks.run(
            "training and test", [*self.training_runs(choice, rates), *self.exams(choice)]
        )
        self.tasks.say(f"report: {report(self.out)}")

    def choose(self, name: str, make) -> dict:
        """What a stage has chosen; it is kept in OUT/NAME.json."""
        path = self.out / f"{name}.json"
        if not path.is_file():
            path.write_text(json.dumps(make(), indent=1) + "\n", encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))

    def task(self, name: str, *words, run: str = "") -> Task:
        return Task(name, (*SGPO, *map(str, words)), run)

    def file(self, split: str) -> Path:
        """The strategies of a split; the parts of train share a file."""
        return self.out / f"strategies-{'test' if split == 'test' else 'train'}.jsonl"

    def strategies(self) -> None:
        found = []
        for split in ("train", "test"):
            words = ("strategies", "--source", "solution", "--data", "gsm8k", "--split", split)
            found.append(self.task(f"strategies-{split}", *words, "--out", self.file(split)))
        self.tasks.run("strategies", found)

    def evaluation(
        self, name: str, student, split: str, *words, limit: int = 0, after: str = ""
    ) -> Task:
        out = self.out / "answers" / name
        words = ("--data", "gsm8k", "--split", split, "--limit", limit, "--out", out, *words)
        words += (
            ("--batch-size", self.study.evaluation_batch) if self.study.evaluation_batch else ()
        )
        task = self.task(name, "evaluate", "--student", student, *self.one_thread, *words)
        return replace(task, after=(after,) if after else ())

    def guided(self, split: str) -> tuple:
        return (*self.within, "--strategies", self.file(split), "--only-with-strategies")

    def longest(self) -> tuple:
        return "--max-new-tokens", self.study.max_new_tokens

    def warm_up(self) -> dict:
        """Warm up until p_guide is enough; the fewest epochs, then the highest temperature."""
        study, tried = self.study, []
        words = ("pretrain", "--student", os.environ["SGPO_REAL_STUDENT_DIR"], "--data", "gsm8k")
        words += ("--split", "warmup", *self.guided("warmup"), "--with-strategy", 0.5)
        words += ("--batch-size", study.warm_batch, "--learning-rate", study.warm_rate)
        words += ("--micro-batch-tokens", study.micro_batch_tokens, "--out", self.out / "warm")
        words += ("--threads", study.warm_threads, *self.dtype)
        for epochs in study.warm_epochs:
            name, student = f"warm-{epochs}", self.out / f"warm-{epochs}"
            if not student.is_dir():
                command = (*words, "--epochs", epochs)
                self.tasks.run("warm-up", [self.task(name, *command, run=str(self.out / "warm"))])
                shutil.copytree(
                    self.out / "warm" / "student", f"{student}.part", dirs_exist_ok=True
                )
                os.rename(f"{student}.part", student)
            sampled = ("--samples", study.samples, *self.guided("validation"), *self.longest())
            evaluations = [
                self.evaluation(
                    f"{name}-at-{heat}", student, "validation", "--temperature", heat, *sampled,
                    limit=study.swept,
                )
                for heat in study.temperatures
            ]  # fmt: skip
            self.tasks.run(f"validation after {epochs} epochs", evaluations)
            for heat in study.temperatures:
                answers = self.out / "answers" / f"{name}-at-{heat}"
                found = {"epochs": epochs, "temperature": heat, "student": str(student)}
                for prompt in ("unguided", "guided"):
                    found[prompt] = accuracy_of(answers / f"{prompt}.jsonl")
                tried.append(found)
                self.tasks.say(f"{name} at temperature {heat}: {found}")
            good = [t for t in tried if t["guided"] >= max(study.enough, t["unguided"])]
            if good:
                break
        chosen = good[0] if good else max(tried, key=lambda t: (t["guided"], t["temperature"]))
        return chosen | {"enough": bool(good), "tried": tried}

    def measure(self, name: str, student, heat: float) -> Task:
        """p_auto, p_guide and both controls at the rollouts' temperature; its log is the table."""
        words = ("strategies", "--measure", student, "--data", "gsm8k", "--split", "validation")
        words += (*self.within, "--strategies", self.file("validation"), *self.longest())
        words += ("--samples", self.study.samples, "--limit", self.study.swept)
        return self.task(name, *words, "--temperature", heat, *self.one_thread)

    def kl(self, name: str, student, heat: float) -> Task:
        """The KL by token of right guided completions."""
        words = (str(Path(__file__).with_name("kl.py")), "--student", student)
        words += ("--strategies", self.file("validation"), "--temperature", heat)
        words += ("--limit", self.study.swept, *self.longest(), *self.within)
        words += ("--group", self.study.guided_rollouts, "--out", self.out / f"{name}.json")
        words += self.dtype
        return Task(name, tuple(map(str, words)))

    def before(self, choice: dict) -> list[Task]:
        student, heat = choice["student"], choice["temperature"]
        return [self.measure("measure-warm", student, heat), self.kl("kl-warm", student, heat)]

    def training(self, name: str, folder: Path, method: str, choice: dict, rate: float, *words):
        study = self.study
        words += ("--method", method, "--learning-rate", rate, "--student", choice["student"])
        words += ("--data", "gsm8k", "--split", "rl", *self.guided("rl"), *self.longest())
        words += ("--temperature", choice["temperature"], "--given-solution", "solution")
        for setting in (
            "problems_per_step", "autonomous_rollouts", "guided_rollouts", "lora_rank",
            "micro_batch_tokens",
        ):  # fmt: skip
            words += ("--" + setting.replace("_", "-"), getattr(study, setting))
        words += ("--checkpoint-every", 10, *self.one_thread, "--out", folder)
        return self.task(name, "train", *words, run=str(folder))

    def choose_rates(self, choice: dict) -> dict:
        """Each method's learning rate: the best greedy accuracy alone, after the same tries.

        Of one rate there is nothing to choose.
        """
        study, trainings, evaluations = self.study, [], []
        if len(study.rates) == 1:
            self.tasks.run("before training", self.before(choice))
            return {m: study.rates[0] for m in METHODS} | {"tried": {m: [] for m in METHODS}}
        short = ("--steps", study.sweep_steps, "--seed", study.sweep_seed)
        names = {(m, rate): f"try-{m}-{rate:g}" for m in METHODS for rate in study.rates}
        for (method, rate), name in names.items():
            folder = self.out / "tries" / name
            trainings.append(self.training(name, folder, method, choice, rate, *short))
            words = (*self.guided("validation"), *self.longest())
            answers = (f"{name}-answers", folder / "student", "validation", *words)
            evaluations.append(self.evaluation(*answers, after=name))
        tasks = [*trainings, *self.before(choice), *evaluations]
        self.tasks.run("before training, and learning rates", tasks)
        found: dict[str, list[dict]] = {method: [] for method in METHODS}
        for (method, rate), name in names.items():
            answers = self.out / "answers" / f"{name}-answers"
            both = {p: accuracy_of(answers / f"{p}.jsonl") for p in ("unguided", "guided")}
            found[method].append({"rate": rate} | both)
        best = {m: max(found[m], key=lambda t: (t["unguided"], -t["rate"])) for m in METHODS}
        return {m: best[m]["rate"] for m in METHODS} | {"tried": found}

    def training_runs(self, choice: dict, rates: dict) -> list[Task]:
        trainings = []
        for method, seed in self.runs():
            name = f"{method}-{seed}"
            steps = self.study.sft_steps if method == "sft" else self.study.steps
            words = ("--steps", steps, "--seed", seed)
            words += ("--evaluate-every", self.study.evaluate_every)
            folder = self.out / "runs" / name
            trainings.append(self.training(name, folder, method, choice, rates[method], *words))
        return trainings

    def runs(self) -> list[tuple[str, int]]:
        """SGPO and GRPO come first, for which the study is made."""
        orders = METHODS[:2], METHODS[2:]
        return [(m, s) for methods in orders for s in self.study.seeds for m in methods]

    def exams(self, choice: dict) -> list[Task]:
        """On `test`, the sets in order of weight; then p_guide, controls and KL after training."""
        study, heat = self.study, choice["temperature"]
        runs = [f"{method}-{seed}" for method, seed in self.runs()]
        students = {"warm": choice["student"]}
        students |= {name: self.out / "runs" / name / "student" for name in runs}
        more = ("--calculations", study.new_calculations)
        sampled = ("--samples", 4, "--temperature", 0.6, "--top-p", 0.95, "--prompt", "unguided")
        whole = ("--max-new-tokens", study.whole_max_new_tokens)
        exams, after = [], []
        for name in runs:
            some = [self.measure(f"measure-{name}", students[name], heat)]
            some += [self.kl(f"kl-{name}", students[name], heat)] * name.startswith("sgpo")
            after += [replace(task, after=(name,)) for task in some]
        for kind, words in {
            "greedy": (*self.guided("test"), *self.longest()),
            "avg4": (*self.guided("test"), *self.longest(), *sampled),
            "new": (*more, *self.longest()),
            "whole": whole,
        }.items():
            for name, student in students.items():
                known = {"limit": study.tested, "after": name if name in runs else ""}
                exams.append(self.evaluation(f"{name}-{kind}", student, "test", *words, **known))
        return exams + after


if __name__ == "__main__":
    main()

"""`python -m sgpo_mini pretrain`: pretrain a tiny student, or warm up a model by SFT."""

import argparse
from pathlib import Path

from .options import (
    COLUMNS,
    PROGRAM,
    SETTINGS,
    add_option,
    flag,
    json_object,
    number,
    set_threads,
    show,
    student_of,
    training_problems,
    whole,
)

# The options that only SFT has, with their defaults.
_OF_SFT = {
    "data": "mini-gsm",
    "split": "train",
    "calculations": 0,
    "question_column": "",
    "answer_column": "",
    "strategies": "",
    "only_with_strategies": False,
    "chat_template_kwargs": None,
    "with_strategy": 0.0,
    "calculation_notes": False,
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": 1e-5,
    "micro_batch_tokens": 0,
    "lora_rank": 0,
    "dtype": "auto",
    "gradient_checkpointing": False,
}


def pretrain_command(options: argparse.Namespace) -> None:
    """Pretrain a tiny student, or warm up the student in --student by SFT."""
    new = options.student == "new"
    others = _OF_SFT if new else ["steps", "control"]
    if given := [name for name in others if getattr(options, name) is not None]:
        flags = ", ".join(map(flag, given))
        use = "pretraining a new student" if new else "SFT (its length is set by --epochs)"
        raise ValueError(f"{use} has no {flags}: see {PROGRAM} pretrain --help")
    options.out = options.out or f"runs/{'student' if new else 'warm-up'}-{options.seed}"
    set_threads(options.threads, options.out if options.resume else "")
    (_make_tiny if new else _warm_up)(options)
    print(f"student: {Path(options.out) / 'student'}")


def _make_tiny(options: argparse.Namespace) -> None:
    import torch

    from ..mini_gsm.pretraining import STEPS, make_tiny_student, save_tiny_student

    steps = options.steps or STEPS
    student = make_tiny_student(
        options.seed,
        steps=steps,
        control=bool(options.control),
        out=options.out,
        resume=options.resume,
    )
    command = f"{PROGRAM} pretrain --seed {options.seed} --threads {torch.get_num_threads()}"
    command += f" --steps {steps}" if steps != STEPS else ""
    command += " --control" if options.control else ""
    measured = save_tiny_student(
        student, Path(options.out) / "student", command, control=bool(options.control)
    )
    for name, (value, low, high) in measured["validation"].items():
        print(f"{name}: {value:.4f} (95 % interval {low:.4f} to {high:.4f}) on validation")


def _warm_up(options: argparse.Namespace) -> None:
    from ..checkpoints import save_with_checksums
    from ..strategies import having_strategies
    from ..supervised import warm_up
    from ..support.checks import refuse_unknown_words
    from ..support.notes import solutions_to_learn

    given = {name: getattr(options, name) for name in _OF_SFT}
    settings = _OF_SFT | {name: value for name, value in given.items() if value is not None}
    chosen = {name: settings.pop(name) for name in (*COLUMNS, "calculations")}
    named = [settings.pop(name) for name in ("data", "split", "strategies")]
    problems = training_problems(*named, chosen)
    if settings.pop("only_with_strategies"):
        problems = having_strategies(problems)
    names = ("lora_rank", "dtype", "gradient_checkpointing", "chat_template_kwargs")
    student = student_of(options.student, **{name: settings.pop(name) for name in names})
    guided = settings["with_strategy"] > 0
    learnt, _ = solutions_to_learn(problems, "solution", settings["calculation_notes"])
    refuse_unknown_words(
        student, (f"{p.question}\n{p.strategy if guided else ''}\n{p.solution}" for p in learnt)
    )
    warm_up(
        student, problems, seed=options.seed, out=options.out, resume=options.resume, **settings
    )
    save_with_checksums(student, Path(options.out) / "student")


def add_pretrain(parser: argparse.ArgumentParser) -> None:
    """Add the options of `pretrain`."""
    parser.set_defaults(run=pretrain_command)
    what = "new: pretrain a tiny student; a folder or a model's name on the Hub: SFT of that model"
    add_option(parser, "student", "new", what)
    seed = "random seed of the order of the examples and of a new student's weights"
    add_option(parser, "seed", 0, seed, whole())
    add_option(parser, "threads", 0, SETTINGS["the run"]["threads"], whole(0))
    out = "folder of the run (default runs/student-SEED for a new student, runs/warm-up-SEED else)"
    add_option(parser, "out", "", out)
    parser.add_argument("--resume", action="store_true", help=SETTINGS["the run"]["resume"])
    group = parser.add_argument_group("only for a new student")
    add_option(
        group, "steps", None, "training steps (default: those of the tiny student)", whole(1)
    )
    control = "pretrain for the control world, where no family tells anything about another"
    group.add_argument("--control", action="store_true", default=None, help=control)
    group = parser.add_argument_group("only for SFT")
    about = SETTINGS["student and problems"] | SETTINGS["optimizer and memory"]
    about |= SETTINGS["learning from given solutions (sft, luffy, hpt)"]
    about |= {
        "only_with_strategies": "leave out problems without a strategy",
        "with_strategy": "share of prompts that contain the problem's strategy, between 0 and 1; "
        "with 0.5, each problem is guided in every second epoch; without a value, all prompts do",
        "epochs": "passes over the solutions",
        "batch_size": "solutions per step",
    }
    readers = {
        "chat_template_kwargs": json_object,
        "epochs": whole(1),
        "batch_size": whole(1),
        "learning_rate": number(above=0),
    }
    for name, default in _OF_SFT.items():
        if default is False:
            group.add_argument(flag(name), action="store_true", default=None, help=about[name])
        elif name == "with_strategy":
            share = {"nargs": "?", "const": 1.0, "type": number(least=0), "metavar": "SHARE"}
            group.add_argument(flag(name), default=None, help=f"{about[name]} (default 0)", **share)
        else:
            reader = readers.get(name, whole(0) if default == 0 else str)
            text = about[name] + (f" (default {show(default)})" if default != "" else "")
            add_option(group, name, None, text, reader)

"""`python -m sgpo_mini train`: one run of one method, with every setting."""

import argparse
from dataclasses import Field, fields
from pathlib import Path

from ..config import METHODS, Config
from .options import add_settings, problems_of, set_threads, show, student_of, training_problems


def train_command(options: argparse.Namespace) -> None:
    """Train a student as the options say, and save the run in --out."""
    from ..benchmarks import BENCHMARKS
    from ..mini_gsm.pretraining import settings_for
    from ..study.worlds import problems_in
    from ..training import train

    names = {field.name for field in fields(Config)}
    given = {name: value for name, value in vars(options).items() if name in names}
    data = given.get("data", "mini-gsm")
    kind = given.get("given_solution", Config.given_solution)
    split = given.get("split", Config.split)
    config = Config(**settings_for(data, given.get("method", "sgpo"), kind, split) | given)
    config.out = options.out = config.out or f"runs/{config.method}-{config.seed}"
    config.check()
    if data in BENCHMARKS:
        raise ValueError(f"{data} is a benchmark, for evaluation only: train on other problems")
    if config.evaluate_every and data not in ("mini-gsm", "gsm8k"):
        raise ValueError(
            "evaluate_every needs validation problems, which only mini-gsm and gsm8k have: leave "
            "--evaluate-every out"
        )
    if config.evaluate_every and data == "gsm8k" and config.split == "train":
        raise ValueError(
            "gsm8k's validation problems are a part of its train: train on another part of it "
            "(--split rl), or leave --evaluate-every out"
        )
    problems = training_problems(data, config.split, config.strategies, vars(config))
    validation = problems_in(data, "validation") if data == "mini-gsm" else None
    if config.evaluate_every and data == "gsm8k":
        validation = problems_of(data, "validation", "", vars(config))
    set_threads(config.threads, config.out if config.resume else "")
    names = ("lora_rank", "dtype", "gradient_checkpointing", "chat_template_kwargs")
    student = student_of(config.student, **{name: getattr(config, name) for name in names})
    train(student, problems, config, validation=validation)
    print(f"trained student: {Path(config.out) / 'student'}")


def add_train(parser: argparse.ArgumentParser, with_settings: bool) -> None:
    """Add the options of `train`: every setting of Config.

    Their defaults on mini-gsm take torch to read, so another command's parser leaves them out.
    """
    parser.set_defaults(run=train_command)
    if with_settings:
        names = [field.name for field in fields(Config)]
        add_settings(parser, names, _told_default)


def _told_default(field: Field) -> str:
    """The default of a setting as the help prints it, and the ones used on mini-gsm."""
    from ..mini_gsm.pretraining import settings_for

    if field.default == "" or field.name == "resume":
        return ""
    text = f" (default {show(field.default)}"
    chosen = {method: settings_for("mini-gsm", method).get(field.name) for method in METHODS}
    values = {value for value in chosen.values() if value is not None} - {field.default}
    if not values:
        return text + ")"
    if set(chosen.values()) == values and len(values) == 1:
        return f"{text}; on mini-gsm {show(*values)})"
    by_value: dict[str, list[str]] = {}
    for method, value in chosen.items():
        if value is not None:
            by_value.setdefault(show(value), []).append(method)
    told = [f"{value} with {', '.join(methods)}" for value, methods in by_value.items()]
    return f"{text}; on mini-gsm {'; '.join(told)})"

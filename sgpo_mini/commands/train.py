"""`python -m sgpo_mini train`: one run of one method, with every setting."""

import argparse
from dataclasses import fields
from pathlib import Path

from .inputs import problems_of, student_of
from .options import METAVARS, SETTINGS, flag, json_object, number, number_or_none, show, whole


def train_command(options: argparse.Namespace) -> None:
    """Train as the options say, and leave the run in --out."""
    from ..benchmarks import BENCHMARKS
    from ..mini_gsm.pretraining import settings_for
    from ..study.runs import validation_problems
    from ..training import Config, train

    names = {field.name for field in fields(Config)}
    given = {name: value for name, value in vars(options).items() if name in names}
    data = given.get("data", "mini-gsm")
    kind = given.get("given_solution", Config.given_solution)
    config = Config(**settings_for(data, given.get("method", "sgpo"), kind) | given)
    config.out = options.out = config.out or f"runs/{config.method}-{config.seed}"
    config.check()
    if data in BENCHMARKS:
        raise ValueError(f"{data} is there to evaluate on: train on other problems")
    if config.evaluate_every and data != "mini-gsm":
        raise ValueError("evaluate_every needs validation problems, which only mini-gsm has")
    problems = problems_of(data, "train", config.strategies, vars(config))
    validation = validation_problems() if data == "mini-gsm" else None
    names = ("lora_rank", "gradient_checkpointing", "chat_template_kwargs")
    student = student_of(config.student, **{name: getattr(config, name) for name in names})
    train(student, problems, config, validation=validation)
    print(f"trained student: {Path(config.out) / 'student'}")


def add_train(parser: argparse.ArgumentParser, with_settings: bool) -> None:
    """The options of `train`: every setting; without them where another command is asked for."""
    parser.set_defaults(run=train_command)
    if not with_settings:
        return
    from ..training import Config

    defined = {field.name: field for field in fields(Config)}
    for title, settings in SETTINGS.items():
        group = parser.add_argument_group(title)
        for name, about in settings.items():
            field = defined[name]
            keywords = {"default": argparse.SUPPRESS, "help": about + _default_text(field)}
            if name == "resume":
                keywords["action"] = "store_true"
            elif field.type is bool:
                keywords["action"] = argparse.BooleanOptionalAction
            else:
                readers = {int: whole(), float: number(), str: str, dict | None: json_object}
                keywords["type"] = readers.get(field.type, number_or_none)
                kinds = {int: "N", str: "NAME"}
                keywords["metavar"] = METAVARS.get(name) or kinds.get(field.type, "X")
            group.add_argument(flag(name), **keywords)


def _default_text(field) -> str:
    """The default of a setting in words, and what the tiny student has in its place on mini-gsm."""
    from ..mini_gsm.pretraining import settings_for
    from ..training import METHODS

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
    told = [f"{value} with {' and '.join(methods)}" for value, methods in by_value.items()]
    return f"{text}; on mini-gsm {', '.join(told)})"

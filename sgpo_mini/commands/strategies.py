"""`python -m sgpo_mini strategies`: make strategies, look at them, or measure whether they help."""

import argparse

from .inputs import COLUMNS, is_file, problems_of, set_threads, student_of
from .options import (
    MAX_NEW_TOKENS,
    PROGRAM,
    SETTINGS,
    SPLIT_HELP,
    add_option,
    flag,
    json_object,
    number,
    show,
    whole,
)
from .sources import SOURCES, make_strategies

# The options that not every job has, with their defaults.
_OF_TEACHER = {
    "teacher": "",
    "teacher_model": "",
    "with_solutions": False,
    "retry_failed": False,
    "candidates": 5,
    "parallel": 8,
    "timeout": 120.0,
    "max_new_tokens": 2048,
    "chat_template_kwargs": None,
    "threads": 0,
    "out": None,
}
_OF_MEASURE = {
    "strategies": "",
    "samples": 8,
    "temperature": 1.0,
    "batch_size": 128,
    "max_new_tokens": None,
    "chat_template_kwargs": None,
    "threads": 0,
    "seed": 0,
}


def strategies_command(options: argparse.Namespace) -> None:
    """Do the one job that the options name."""
    jobs = {"source": make_strategies, "inspect": _inspect, "measure": _measure}
    given = [name for name in jobs if getattr(options, name)]
    if len(given) != 1:
        raise ValueError(
            "give one of --source (make strategies), --inspect FILE (look at them) and "
            f"--measure STUDENT (do they help?): see {PROGRAM} strategies --help"
        )
    job = given[0]
    told = f"--source {options.source}" if job == "source" else f"--{job}"
    used = {"source": {"out": None}, "inspect": {"seed": 0}, "measure": _OF_MEASURE}[job]
    used = _OF_TEACHER if options.source == "teacher" else used
    _refuse(options, sorted({*_OF_TEACHER, *_OF_MEASURE} - set(used)), told)
    if job == "inspect" and not options.data:
        _refuse(options, ["split", "limit", *COLUMNS], "--inspect without --data")
    if options.teacher and options.teacher.startswith(("http://", "https://")):
        _refuse(options, ["threads", "chat_template_kwargs"], "a teacher behind a URL")
    elif options.teacher:
        _refuse(options, ["parallel", "timeout"], "a teacher that runs here")
    for name, default in used.items():
        if getattr(options, name) is None:
            setattr(options, name, default)
    if options.split and is_file(options.data or ""):
        raise ValueError(f"{options.data} has no splits: leave --split out")
    if "threads" in used:
        set_threads(options.threads)
    jobs[job](options)


def _refuse(options: argparse.Namespace, names: list[str], told: str) -> None:
    """ValueError where options are given that would do nothing."""
    if given := [name for name in names if getattr(options, name) is not None]:
        raise ValueError(f"{told} has no {', '.join(map(flag, given))}")


def _inspect(options: argparse.Namespace) -> None:
    from ..strategies import load_strategies
    from ..strategy_sources.inspection import inspect_strategies

    problems = None
    if options.data:
        problems = problems_of(options.data, options.split or "train", "", vars(options))
        problems = problems[: options.limit or None]
    print(inspect_strategies(load_strategies(options.inspect), problems, options.seed))


def _measure(options: argparse.Namespace) -> None:
    import random

    from ..mini_gsm.pretraining import settings_for
    from ..strategies import load_strategies
    from ..strategy_sources.measure import measure_strategies
    from ..student import refuse_unknown_words
    from ..study.runs import SURE_AND_WRONG

    data = options.data or "mini-gsm"
    if options.temperature == 0 and options.samples > 1:
        raise ValueError("several samples a problem need a temperature above 0")
    problems = problems_of(data, options.split or "train", options.strategies, vars(options))
    if options.strategies:  # the others would be measured with strategies that are not in the file
        strategies = load_strategies(options.strategies)
        problems = [problem for problem in problems if problem.id in strategies]
    problems = [problem for problem in problems if problem.family not in SURE_AND_WRONG]
    if options.limit and options.limit < len(problems):
        problems = random.Random(options.seed).sample(problems, options.limit)
    student = student_of(options.measure, chat_template_kwargs=options.chat_template_kwargs)
    refuse_unknown_words(student, (f"{p.question}\n{p.strategy}" for p in problems))
    measured = measure_strategies(
        student,
        problems,
        samples=options.samples,
        temperature=options.temperature,
        max_new_tokens=options.max_new_tokens
        or settings_for(data, "").get("max_new_tokens", MAX_NEW_TOKENS),
        batch_size=options.batch_size,
        seed=options.seed,
        progress=True,
    )
    print(measured.text)


def add_strategies(parser: argparse.ArgumentParser) -> None:
    """The options of `strategies`."""
    parser.set_defaults(run=strategies_command)
    about = SETTINGS["what is trained, and on what"] | SETTINGS["the run"]
    sources = "; ".join(f"{name}: {text}" for name, text in SOURCES.items())
    group = parser.add_argument_group("what to do: one of these")
    group.add_argument("--source", choices=SOURCES, help=f"make strategies. {sources}")
    add_option(group, "inspect", "", "counts, lengths, leaks, reuse, and ten of FILE at random")
    what = "p_auto and p_guide of this student (tiny, a folder, a name on the Hub), and with "
    add_option(
        group, "measure", "", f"{what}the strategies shuffled, and with a text that says nothing"
    )
    group = parser.add_argument_group("which problems")
    data = "(default mini-gsm; with --inspect none: the strategies are shown without problems)"
    add_option(group, "data", None, f"{about['data']} {data}")
    for name in COLUMNS:
        add_option(group, name, None, about[name])
    add_option(group, "split", None, SPLIT_HELP.replace("default test", "default train"))
    limit = "only so many problems, the first ones (with --measure drawn by --seed); 0: all"
    add_option(group, "limit", None, f"{limit} (default 0)", whole(0))
    seed = "with --inspect and --measure: draws what is shown, measured and sampled (default 0)"
    add_option(group, "seed", None, seed, whole())
    threads = f"for a model that runs here: {about['threads']} (default 0)"
    add_option(group, "threads", None, threads, whole(0))
    told = "for a model that runs here: " + about["chat_template_kwargs"].split(";")[0]
    add_option(group, "chat_template_kwargs", None, told, json_object)
    group = parser.add_argument_group("--source")
    out = "the store to make (default runs/strategies-SOURCE.jsonl); what fails is told in a "
    out += "NAME.failed.jsonl beside it. With a teacher the same command goes on with it"
    group.add_argument("--out", metavar="FILE", default=None, help=out)
    group = parser.add_argument_group("--source teacher")
    told = {
        "teacher": "base URL of a server that speaks the OpenAI chat protocol "
        "(http://localhost:8000/v1; its key, if it wants one, is read from the environment "
        "variable SGPO_TEACHER_KEY), a folder with a model, or a model's name on the Hub",
        "teacher_model": "the name under which the server knows the model",
        "with_solutions": "draw from the given solutions: the teacher need not solve the problems",
        "retry_failed": "ask the problems that failed once more; a model run here draws anew",
        "candidates": "strategies drawn for each problem, of which the best is kept",
        "parallel": "problems worked on side by side, one request each",
        "timeout": "seconds that a server may be silent before it is asked again",
        "max_new_tokens": "longest reply in tokens, a reasoning part included (default 2048); with "
        f"--measure the longest solution (default {MAX_NEW_TOKENS}; on mini-gsm as in training)",
        "strategies": "JSONL file to measure; without it the strategies that the problems bring",
        "samples": "solutions of each problem with each prompt",
        "temperature": "of sampling those",
        "batch_size": "solutions at a time: fewer need less memory",
    }
    readers = {"teacher": str, "teacher_model": str, "strategies": str}
    readers |= {"timeout": number(above=0), "temperature": number(least=0)}
    for title, options in (("", _OF_TEACHER), ("--measure", _OF_MEASURE)):
        group = parser.add_argument_group(title) if title else group
        for name, default in options.items():
            if name not in told or default is None:
                continue  # it is there already
            if default is False:
                group.add_argument(flag(name), action="store_true", default=None, help=told[name])
            else:
                text = told[name] if "(default" in told[name] or default == "" else ""
                text = text or f"{told[name]} (default {show(default)})"
                add_option(group, name, None, text, readers.get(name, whole(1)))

"""`python -m sgpo_mini strategies`: make strategies, inspect them, or measure whether they help."""

import argparse
from collections.abc import Callable
from pathlib import Path

from .options import (
    BATCH_SIZE,
    COLUMNS,
    PROGRAM,
    SETTINGS,
    SPLITS,
    TEMPLATE,
    add_option,
    flag,
    is_file,
    json_object,
    longest_completion,
    number,
    problems_of,
    quiet_loading,
    set_threads,
    show,
    student_of,
    whole,
)

SOURCES = {
    "teacher": "ask a strong model (--teacher)",
    "solution": "read them from worked solutions marked as in GSM8K, <<48/2=24>>",
    "subquestions": "take GSM8K's own sub-questions (its socratic configuration)",
    "world": "the true strategies of mini-gsm",
}
# The options that only some jobs have, with their defaults.
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
    "batch_size": None,
    "max_new_tokens": None,
    "chat_template_kwargs": None,
    "dtype": "auto",
    "threads": 0,
    "seed": 0,
}


def strategies_command(options: argparse.Namespace) -> None:
    """Do the job that the options ask for; ValueError if they ask for none or several."""
    jobs = {"source": _make, "inspect": _inspect, "measure": _measure}
    given = [name for name in jobs if getattr(options, name)]
    if len(given) != 1:
        raise ValueError(
            "give one of --source (make strategies), --inspect FILE (look at them) or "
            f"--measure STUDENT (do they help?): see {PROGRAM} strategies --help"
        )
    job = given[0]
    told = f"--source {options.source}" if job == "source" else f"--{job}"
    used = {"source": {"out": None}, "inspect": {"seed": 0}, "measure": _OF_MEASURE}[job]
    used = _OF_TEACHER if options.source == "teacher" else used
    _refuse(options, sorted({*_OF_TEACHER, *_OF_MEASURE} - set(used)), told)
    if job == "inspect" and not options.data:
        alone = ["split", "limit", "calculations", *COLUMNS]
        _refuse(options, alone, "--inspect without --data")
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
    """Raise ValueError if one of these options is given: it would have no effect."""
    if given := [name for name in names if getattr(options, name) is not None]:
        it = "it" if len(given) == 1 else "them"
        raise ValueError(f"{told} has no {', '.join(map(flag, given))}: leave {it} out")


def _make(options: argparse.Namespace) -> None:
    """Make strategies from one of SOURCES, and save them to --out."""
    from ..problems import load_gsm8k
    from ..strategies import Strategy
    from ..strategy_sources import worked_solutions
    from ..support.files import locked

    source, data, split = options.source, options.data or "mini-gsm", options.split or "train"
    options.out = options.out or f"runs/strategies-{source}.jsonl"
    if not options.out.endswith(".jsonl"):
        raise ValueError(f"out must be a file that ends in .jsonl, not {options.out!r}")
    if source == "world" and data != "mini-gsm":
        raise ValueError(f"--source world is for --data mini-gsm, not {data}: take another source")
    if source == "subquestions" and data == "mini-gsm":
        raise ValueError(
            "--source subquestions needs --data gsm8k, or a FILE whose solutions have "
            "sub-questions; mini-gsm has none"
        )
    if source == "subquestions" and data == "gsm8k" and not any(vars(options)[c] for c in COLUMNS):
        problems = load_gsm8k(split, "socratic", calculations=options.calculations or 0)
    else:
        problems = problems_of(data, split, "", vars(options))
    problems = problems[: options.limit or None]
    if source == "teacher":
        return _ask_teacher(options, problems)
    read = {
        "world": lambda problem: Strategy.parse(problem.strategy),
        "solution": worked_solutions.strategy_from_solution,
        "subquestions": worked_solutions.strategy_from_subquestions,
    }
    with locked(Path(options.out).with_suffix(".lock"), options.out):
        _read_strategies(options.out, problems, read[source])


def _ask_teacher(options: argparse.Namespace, problems: list) -> None:
    from ..strategy_sources.extraction import extract_strategies
    from ..strategy_sources.teacher_store import summary
    from ..strategy_sources.teachers import open_teacher

    if not options.teacher:
        raise ValueError("--source teacher needs --teacher (a server's URL, a folder, or a name)")
    quiet_loading()
    found = extract_strategies(
        problems,
        open_teacher(
            options.teacher,
            options.teacher_model,
            timeout=options.timeout,
            chat_template_kwargs=options.chat_template_kwargs,
        ),
        options.out,
        candidates=options.candidates,
        parallel=options.parallel,
        with_solutions=options.with_solutions,
        retry_failed=options.retry_failed,
        max_new_tokens=options.max_new_tokens,
    )
    print(summary(options.out, problems))
    if not found:
        failed = Path(options.out).with_suffix(".failed.jsonl")
        raise ValueError(f"no strategy was kept: see the reasons in {failed}")
    print(f"strategies: {options.out}")


def _read_strategies(out: str, problems: list, read: Callable) -> None:
    """Save the strategies that `read` finds, and beside them why the other problems have none."""
    import json

    from ..strategies import leaks, save_strategies

    if Path(out).exists():
        raise ValueError(f"{out} already exists: give another --out, or remove it")

    strategies, unread = {}, {}
    for problem in problems:
        try:
            strategy = read(problem)
            if found := leaks(strategy, problem):
                raise ValueError(f"the strategy would leak {', '.join(found)}")
            strategies[problem.id] = strategy
        except ValueError as error:
            unread[problem.id] = str(error)
    if not strategies:
        raise ValueError(
            f"none of the {len(problems)} problems has a readable strategy; the first: "
            f"{next(iter(unread.values()))}"
        )
    failed = Path(out).with_suffix(".failed.jsonl")
    save_strategies(out, strategies)
    failed.unlink(missing_ok=True)  # left by an earlier file of this name
    distinct = len(set(strategies.values()))
    print(f"kept {len(strategies)} of {len(problems)}, {distinct} distinct")
    if unread:
        rows = [json.dumps({"id": i, "reason": r}, ensure_ascii=False) for i, r in unread.items()]
        failed.write_text("\n".join(rows) + "\n", encoding="utf-8")
        first = next(iter(unread.values()))
        print(f"no strategy for {len(unread)}: reasons in {failed} (the first: {first})")
    print(f"strategies: {out}")


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

    from ..strategies import load_strategies
    from ..strategy_sources.measure import measure_strategies
    from ..support.checks import refuse_unknown_words

    data = options.data or "mini-gsm"
    if options.temperature == 0 and options.samples > 1:
        raise ValueError("several samples per problem need a temperature above 0")
    problems = problems_of(data, options.split or "train", options.strategies, vars(options))
    if options.strategies:  # measure only the strategies that are in the file
        strategies = load_strategies(options.strategies)
        problems = [problem for problem in problems if problem.id in strategies]
    if options.limit and options.limit < len(problems):
        problems = random.Random(options.seed).sample(problems, options.limit)
    names = ("dtype", "chat_template_kwargs")
    student = student_of(options.measure, **{name: getattr(options, name) for name in names})
    refuse_unknown_words(student, (f"{p.question}\n{p.strategy}" for p in problems))
    measured = measure_strategies(
        student,
        problems,
        samples=options.samples,
        temperature=options.temperature,
        max_new_tokens=longest_completion(options.max_new_tokens, data),
        batch_size=options.batch_size,
        seed=options.seed,
        progress=True,
    )
    print(f"{measured.text}\n\n{measured.advice}")


def add_strategies(parser: argparse.ArgumentParser) -> None:
    """Add the options of `strategies`."""
    parser.set_defaults(run=strategies_command)
    about = SETTINGS["student and problems"] | SETTINGS["the run"]
    group = parser.add_argument_group("what to do (give one)")
    sources = "; ".join(f"{name}: {text}" for name, text in SOURCES.items())
    group.add_argument("--source", choices=SOURCES, help=f"make strategies. {sources}")
    inspect = "show counts, lengths, leaks, repeats, and ten random strategies of FILE"
    add_option(group, "inspect", "", inspect)
    measure = "accuracy of STUDENT (as in train) without strategies (p_auto), with them (p_guide), "
    measure += "with shuffled ones and with contentless ones; and whether SGPO can teach it "
    measure += "something here"
    add_option(group, "measure", "", measure)
    group = parser.add_argument_group("problems")
    data = "(default mini-gsm; --inspect shows the problems only if --data is given)"
    add_option(group, "data", None, f"{about['data']} {data}")
    for name in COLUMNS:
        add_option(group, name, None, about[name])
    add_option(group, "split", None, f"{SPLITS} (default train)")
    add_option(group, "calculations", None, about["calculations"], whole(0))
    limit = "use only the first N problems (--measure draws N at random); 0: all (default 0)"
    add_option(group, "limit", None, limit, whole(0))
    seed = "with --inspect and --measure: random seed of what is shown or sampled (default 0)"
    add_option(group, "seed", None, seed, whole())
    threads = f"for a model on this machine: {about['threads']} (default 0)"
    add_option(group, "threads", None, threads, whole(0))
    template = f"for a model on this machine: {TEMPLATE}"
    add_option(group, "chat_template_kwargs", None, template, json_object)
    group = parser.add_argument_group("--source")
    out = "file for the strategies (default runs/strategies-SOURCE.jsonl); failed problems and "
    out += "reasons go to NAME.failed.jsonl. With a teacher, the same command resumes a stopped run"
    group.add_argument("--out", metavar="FILE", default=None, help=out)
    group = parser.add_argument_group("--source teacher")
    told = {
        "teacher": "base URL of a server with the OpenAI chat API (http://localhost:8000/v1; if it "
        "needs a key, put it into the environment variable SGPO_TEACHER_KEY), a folder with a "
        "model, or a model's name on the Hub",
        "teacher_model": "name of the model on the server",
        "with_solutions": "show the teacher the given solutions, so it need not solve the problems",
        "retry_failed": "ask again for problems that failed; a local model draws new samples",
        "candidates": "strategies drawn per problem; the best one is kept",
        "parallel": "problems processed at the same time, with one request each",
        "timeout": "seconds to wait for the server before a request is repeated",
        "max_new_tokens": "length limit of a reply in tokens, reasoning included (default 2048); "
        "with --measure, of a completion (default 256; on mini-gsm 64, as in training)",
        "strategies": "JSONL file to measure (default: the strategies that come with the problems)",
        "samples": "completions per problem with each prompt",
        "temperature": "sampling temperature",
        "dtype": SETTINGS["optimizer and memory"]["dtype"],
    }
    readers = {"timeout": number(above=0), "temperature": number(least=0), "dtype": str}
    for title, options in (("", _OF_TEACHER), ("--measure", _OF_MEASURE)):
        group = parser.add_argument_group(title) if title else group
        for name, default in options.items():
            if name not in told or default is None:
                continue  # added above
            if default is False:
                group.add_argument(flag(name), action="store_true", default=None, help=told[name])
                continue
            shown = default == "" or "(default" in told[name]
            text = told[name] if shown else f"{told[name]} (default {show(default)})"
            add_option(group, name, None, text, readers.get(name, whole(1) if default else str))
    add_option(group, "batch_size", None, BATCH_SIZE, whole(1))

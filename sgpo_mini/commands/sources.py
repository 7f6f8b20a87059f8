"""`strategies --source`: where strategies come from, and the store that is made of them."""

import argparse
from collections.abc import Callable
from pathlib import Path

from .inputs import COLUMNS, problems_of, quiet_loading

SOURCES = {
    "teacher": "ask a strong model (--teacher)",
    "solution": "from worked solutions whose computations are marked as in GSM8K, <<48/2=24>>",
    "subquestions": "from GSM8K's own sub-questions (its socratic configuration)",
    "world": "the true ones of mini-gsm",
}


def make_strategies(options: argparse.Namespace) -> None:
    """Make a store from the source that --source names."""
    from ..problems import load_gsm8k
    from ..strategies import Strategy
    from ..strategy_sources import worked_solutions
    from ..support.files import locked

    source, data, split = options.source, options.data or "mini-gsm", options.split or "train"
    options.out = options.out or f"runs/strategies-{source}.jsonl"
    if not options.out.endswith(".jsonl"):
        raise ValueError(f"out must be a file that ends in .jsonl, not {options.out!r}")
    if source == "world" and data != "mini-gsm":
        raise ValueError(f"--source world is for --data mini-gsm, not {data}")
    if source == "subquestions" and data == "mini-gsm":
        raise ValueError(
            "--source subquestions is for --data gsm8k, or a FILE whose solutions have "
            "sub-questions; mini-gsm has none"
        )
    if source == "subquestions" and data == "gsm8k" and not any(vars(options)[c] for c in COLUMNS):
        problems = load_gsm8k(split, "socratic")
    else:
        problems = problems_of(data, split, "", vars(options))
    problems = problems[: options.limit or None]
    if source == "teacher":
        _ask_teacher(options, problems)
        return
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
        raise ValueError(
            "--source teacher needs --teacher: the URL of a server, a folder, or a model's name on "
            "the Hub"
        )
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
        raise ValueError("no strategy was kept")
    print(f"strategies: {options.out}")


def _read_strategies(out: str, problems: list, read: Callable) -> None:
    """Strategies that need no model, and a file beside them with what can't be read and why."""
    import json

    from ..strategies import leaks, save_strategies

    if Path(out).exists():
        raise ValueError(f"{out} is there already: give another --out, or remove it")

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
            f"none of the {len(problems)} problems gives a strategy: {next(iter(unread.values()))}"
        )
    failed = Path(out).with_suffix(".failed.jsonl")
    save_strategies(out, strategies)
    failed.unlink(missing_ok=True)  # of a store that was here before
    distinct = len(set(strategies.values()))
    print(f"kept {len(strategies)} of {len(problems)}, {distinct} distinct")
    if unread:
        rows = [json.dumps({"id": i, "reason": r}, ensure_ascii=False) for i, r in unread.items()]
        failed.write_text("\n".join(rows) + "\n", encoding="utf-8")
        first = next(iter(unread.values()))
        print(f"could not be read: {len(unread)}, told in {failed} (the first: {first})")
    print(f"strategies: {out}")

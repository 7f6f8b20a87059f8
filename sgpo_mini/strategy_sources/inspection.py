"""A report on a file of strategies: counts, lengths, leaks, how often one is reused, examples."""

import random
from collections import Counter
from collections.abc import Sequence
from statistics import mean, median

from ..problems import Problem
from ..strategies import Strategy, leaks

SHOWN = 10  # how many random strategies and how many of the most reused ones are shown


def inspect_strategies(
    strategies: dict[str, Strategy], problems: Sequence[Problem] | None = None, seed: int = 0
) -> str:
    """A text report on strategies by problem id: counts, lengths, leaks, reuse and examples.

    `problems` are those that the strategies were made for, matched by id. Only strategies with a
    problem are checked for leaks and shown beside it. `seed` draws the ten examples. Raises
    ValueError if there are no strategies or none of them belongs to these problems.
    """
    if not strategies:
        raise ValueError("there are no strategies to inspect; give a store with at least one")
    by_id = {problem.id: problem for problem in problems or []}
    known = {name: by_id[name] for name in strategies if name in by_id}
    if problems is not None and not known:
        name = next(iter(strategies))
        raise ValueError(
            f"none of the {len(by_id)} problems has the id of one of the {len(strategies)} "
            f"strategies (such as {name!r}); give the problems they were made for"
        )
    parts = [
        _counts(strategies, known, len(by_id) if problems is not None else None),
        _leak_report(strategies, known),
        _reuse(strategies),
        _examples(strategies, known, seed),
    ]
    return "\n\n".join(parts)


def _counts(
    strategies: dict[str, Strategy], known: dict[str, Problem], problems: int | None
) -> str:
    lines = [f"Strategies: {len(strategies)}"]
    if problems is not None:
        lines.append(
            f"Problems: {problems}, of which {len(known)} have a strategy "
            f"({len(known) / problems:.1%})"
        )
    words = [len(strategy.text.split()) for strategy in strategies.values()]
    steps = [len(strategy.steps) for strategy in strategies.values()]
    for name, values in (("Words", words), ("Steps", steps)):
        lines.append(
            f"{name} in a strategy: {mean(values):.1f} on average, median {median(values):g}, "
            f"{min(values)} to {max(values)}"
        )
    return "\n".join(lines)


def _leak_report(strategies: dict[str, Strategy], known: dict[str, Problem]) -> str:
    if not known:
        return "Leaks: not known without the problems (give --data)"
    found = {name: leaks(strategies[name], problem) for name, problem in known.items()}
    leaking = {name: words for name, words in found.items() if words}
    lines = [f"Leaks: {len(leaking)} of {len(known)} ({len(leaking) / len(known):.2%})"]
    lines += [f"  {name}: {', '.join(words)}" for name, words in list(leaking.items())[:SHOWN]]
    if len(leaking) > SHOWN:
        lines.append(f"  ... and {len(leaking) - SHOWN} more")
    return "\n".join(lines)


def _reuse(strategies: dict[str, Strategy]) -> str:
    serves = Counter(strategy.text for strategy in strategies.values())
    shared = sum(count for count in serves.values() if count > 1)
    lines = [
        f"Distinct: {len(serves)}; each serves {len(strategies) / len(serves):.2f} problems on "
        "average",
        f"Problems that share their strategy with another: {shared} "
        f"({shared / len(strategies):.1%})",
    ]
    most = [(text, count) for text, count in serves.most_common(SHOWN) if count > 1]
    if most:
        lines.append("Most reused:")
    for text, count in most:
        lines += ["", f"{count} problems", _indented(text)]
    return "\n".join(lines)


def _examples(strategies: dict[str, Strategy], known: dict[str, Problem], seed: int) -> str:
    names = random.Random(seed).sample(sorted(strategies), min(SHOWN, len(strategies)))
    lines = [f"{len(names)} at random" + (" beside their problems:" if known else ":")]
    for name in names:
        lines += ["", name]
        if name in known:
            lines += [_indented(f"Problem: {known[name].question.strip()}")]
        lines += [_indented(strategies[name].text)]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())

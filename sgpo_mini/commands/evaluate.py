"""`python -m sgpo_mini evaluate`: a student's accuracy, guided and unguided.

On mini-gsm it prints one table of all exams (`study/benchmark_table.py`) unless a split is named.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .options import (
    BATCH_SIZE,
    COLUMNS,
    SETTINGS,
    SPLITS,
    TEMPLATE,
    add_option,
    is_file,
    json_object,
    longest_completion,
    number,
    problems_of,
    set_threads,
    student_of,
    whole,
)

PASSED_ON = ("samples", "temperature", "top_p", "batch_size", "seed")  # options of `evaluate`
MOST_FAMILIES = 30  # that have a line each


def evaluate_command(options: argparse.Namespace) -> None:
    """Measure accuracy with one kind of prompt or both, and save every completion.

    On mini-gsm without --split, every exam is measured and one table printed.
    """
    from ..evaluation import evaluate
    from ..support.checks import refuse_beyond_window, refuse_unknown_words, try_reward
    from ..support.diagnostics import Diagnostics

    _refuse(options)
    set_threads(options.threads)
    asked = _problems(options)
    problems = [problem for some in asked.values() for problem in some]
    prompts, reward = _prompts(options.prompt, problems), _reward(options)
    names = ("dtype", "chat_template_kwargs")
    student = student_of(options.student, **{name: getattr(options, name) for name in names})
    texts = (f"{p.question}\n{p.strategy if True in prompts else ''}" for p in problems)
    refuse_unknown_words(student, texts)
    longest = longest_completion(options.max_new_tokens, options.data)
    for guided in prompts:  # check both before either is evaluated
        refuse_beyond_window(student, problems, guided=guided, max_new_tokens=longest)
    try_reward(reward, problems)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    settings = {name: getattr(options, name) for name in PASSED_ON}
    settings |= {"max_new_tokens": longest, "reward": reward, "within": Diagnostics()}
    is_table, evaluations = len(asked) > 1, {}
    for split, of_split in asked.items():
        if is_table:
            print(f"{split}: {len(of_split)} problems", file=sys.stderr)
        for guided in prompts:
            name = "guided" if guided else "unguided"
            evaluation = evaluate(student, of_split, guided=guided, progress=name, **settings)
            evaluations[split, guided] = evaluation
            evaluation.save(out / f"{f'{split}-' if is_table else ''}{name}.jsonl")
            if not is_table:
                _print_accuracy(name, evaluation, _how(options))
                _print_cut_off(name, [evaluation], longest)
                print(f"{name}: completions saved to {out / name}.jsonl")
    if is_table:
        _print_table(evaluations, _how(options), longest)
        print(f"completions saved to {out}, a file for each split and prompt")


def _refuse(options: argparse.Namespace) -> None:
    """Raise ValueError if options don't fit together."""
    from ..benchmarks import BENCHMARKS

    if options.samples > 1 and options.temperature == 0:
        raise ValueError("several samples per problem need a temperature above 0 (--temperature 1)")
    if options.top_p > 1:
        raise ValueError(f"top_p must be above 0 and at most 1, not {options.top_p}")
    if options.split and (is_file(options.data) or options.data in BENCHMARKS):
        raise ValueError(f"{options.data} has no splits: leave --split out")
    if options.latex and not is_file(options.data):
        raise ValueError(f"--latex is only for a FILE, not for {options.data}: leave it out")


def _problems(options: argparse.Namespace) -> dict[str, list]:
    """The problems to ask by split: every exam of mini-gsm, if no split is named."""
    from ..mini_gsm.world import DATA, EXAMS
    from ..strategies import having_strategies

    splits = EXAMS if options.data == DATA and not options.split else [options.split or "test"]
    asked = {}
    for split in splits:
        told = vars(options)
        problems = problems_of(options.data, split, options.strategies, told, options.latex)
        if options.only_with_strategies:
            problems = having_strategies(problems)
        asked[split] = problems[: options.limit or None]
    return asked


def _prompts(asked: str, problems: list) -> tuple[bool, ...]:
    """Whether to ask unguided (False) and guided (True), in order.

    "both" is unguided alone if a problem has no strategy; "guided" then raises ValueError.
    """
    from ..strategies import require_strategies

    without = sum(not problem.strategy.strip() for problem in problems)
    if asked == "guided":
        require_strategies(problems)
    if asked != "both" or not without:
        return {"both": (False, True), "guided": (True,), "unguided": (False,)}[asked]
    if without < len(problems):
        told = f"{without} of {len(problems)} problems have no strategy: evaluating unguided only"
        print(told, file=sys.stderr)
    return (False,)


def _how(options: argparse.Namespace) -> str:
    return f"avg@{options.samples}" if options.temperature else "greedy"


def _reward(options: argparse.Namespace) -> Callable:
    """What says whether a completion is right."""
    from ..benchmarks import BENCHMARKS
    from ..problems import numeric_reward
    from ..support.latex import latex_reward

    if options.data in BENCHMARKS:
        return BENCHMARKS[options.data].reward
    return latex_reward if options.latex else numeric_reward


def _print_table(evaluations: dict, how: str, longest: int) -> None:
    """Print the accuracy on each exam, and how many completions were cut off."""
    from ..study.benchmark_table import benchmark_table

    print(f"accuracy in percent, {how}, with 95 % intervals over families\n")
    print(f"{benchmark_table(evaluations)}\n")
    for guided, name in ((False, "unguided"), (True, "guided")):
        if made := [evaluations[key] for key in evaluations if key[1] == guided]:
            _print_cut_off(name, made, longest)


def _print_cut_off(name: str, evaluations: list, longest: int) -> None:
    from ..study.evaluations import mean

    share = mean([cut for made in evaluations for row in made.truncated for cut in row])
    told = f"{share:.1%} of the completions were cut off at {longest} tokens and count as wrong"
    print(f"{name}: {told}")


def _print_accuracy(name: str, evaluation, how: str) -> None:
    """Print accuracy with its interval over families, pass@k, and that of each of a few families.

    Without families the interval is over problems.
    """
    from ..evaluation import pass_at_k
    from ..study.evaluations import mean
    from ..support.intervals import clustered_interval, confidence_interval

    families, correct = evaluation.by_family(), evaluation.correct
    over = "families" if len(families) > 1 else "problems"
    if len(families) > 1:
        low, high = clustered_interval(list(families.values()))
    else:
        low, high = confidence_interval(evaluation.accuracies)
    interval = f"95 % interval over {over} {low:.4f} to {high:.4f}"
    print(f"{name}: {evaluation.accuracy:.4f} ({interval}), {how}, {len(correct)} problems")
    if (samples := len(correct[0])) > 1:
        ks = sorted({2**i for i in range(samples.bit_length())} | {samples})  # 1, 2, 4, …
        print(f"{name}: " + ", ".join(f"pass@{k} {pass_at_k(correct, k):.4f}" for k in ks))
    if 1 < len(families) <= min(MOST_FAMILIES, len(correct) / 2):  # of two problems on average
        for family, values in families.items():
            print(f"  {family or 'no family'}: {mean(values):.4f}")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate`."""
    parser.set_defaults(run=evaluate_command)
    about = SETTINGS["student and problems"]
    add_option(parser, "student", "tiny", about["student"])
    template = f"{TEMPLATE} (default: those saved with the student)"
    add_option(parser, "chat_template_kwargs", None, template, json_object)
    add_option(parser, "dtype", "auto", SETTINGS["optimizer and memory"]["dtype"])
    more = "; or, from the Hub, math500 (needs the extra math), amc23 or aime24"
    add_option(parser, "data", "mini-gsm", about["data"] + more)
    for name in COLUMNS:
        add_option(parser, name, "", about[name])
    latex = "read the answers of the FILE as LaTeX (needs the extra math)"
    parser.add_argument("--latex", action="store_true", default=None, help=latex)
    default = "(default: on mini-gsm one table of test, reworded, composed, new_pairs, longer and "
    default += "unseen; elsewhere test)"
    add_option(parser, "split", None, f"{SPLITS} {default}")
    add_option(parser, "calculations", 0, about["calculations"], whole(0))
    add_option(parser, "strategies", "", about["strategies"])
    without = "leave out problems without a strategy"
    parser.add_argument("--only-with-strategies", action="store_true", default=None, help=without)
    parser.add_argument(
        "--prompt",
        choices=("both", "guided", "unguided"),
        default="both",
        help="guided (with the strategy), unguided (without it) or both (default both; unguided "
        "only, if a problem has no strategy)",
    )
    add_option(parser, "samples", 1, "k of avg@k and pass@k: completions per problem", whole(1))
    temperature = "sampling temperature; 0: greedy decoding"
    add_option(parser, "temperature", 0.0, temperature, number(least=0))
    top_p = "nucleus sampling: sample from the most likely tokens with this total probability"
    add_option(parser, "top_p", 1.0, top_p, number(above=0))
    longest = SETTINGS["one step"]["max_new_tokens"]
    longest += " (default 256; on mini-gsm 64, as in training: too short for a large model)"
    add_option(parser, "max_new_tokens", None, longest, whole(1))
    add_option(parser, "batch_size", None, BATCH_SIZE, whole(1))
    limit = "evaluate only the first N problems (of each split in the table); 0: all"
    add_option(parser, "limit", 0, limit, whole(0))
    add_option(parser, "seed", 0, "random seed of sampling", whole())
    add_option(parser, "threads", 0, SETTINGS["the run"]["threads"], whole(0))
    out = "folder for the completions and whether each is correct; overwrites earlier ones"
    add_option(parser, "out", "runs/evaluation", out)

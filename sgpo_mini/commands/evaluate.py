"""`python -m sgpo_mini evaluate`: how often a student is right, guided and unguided."""

import argparse
import sys
from pathlib import Path

from .inputs import COLUMNS, is_file, problems_of, set_threads, student_of
from .options import MAX_NEW_TOKENS, SETTINGS, SPLIT_HELP, add_option, json_object, number, whole


def evaluate_command(options: argparse.Namespace) -> None:
    """Measure the student with one prompt or both, and keep every completion."""
    from ..benchmarks import BENCHMARKS
    from ..evaluation import evaluate
    from ..mini_gsm.pretraining import settings_for
    from ..problems import numeric_reward
    from ..strategies import require_strategies
    from ..student import refuse_unknown_words
    from ..support.checks import refuse_beyond_window, try_reward
    from ..support.diagnostics import Diagnostics
    from ..support.latex import latex_reward

    if options.samples > 1 and options.temperature == 0:
        raise ValueError("several samples a problem need a temperature above 0 (--temperature 1)")
    if options.top_p > 1:
        raise ValueError(f"top_p must be above 0 and at most 1, not {options.top_p}")
    if options.split and (is_file(options.data) or options.data in BENCHMARKS):
        raise ValueError(f"{options.data} has no splits: leave --split out")
    if options.latex and not is_file(options.data):
        raise ValueError("--latex is for a FILE: other data knows what its answers are")
    set_threads(options.threads)
    split = options.split or "test"
    problems = problems_of(options.data, split, options.strategies, vars(options), options.latex)
    reward = latex_reward if options.latex else numeric_reward
    reward = BENCHMARKS[options.data].reward if options.data in BENCHMARKS else reward
    problems = problems[: options.limit or None]
    without = sum(not problem.strategy.strip() for problem in problems)
    prompts = {"both": (False, True), "guided": (True,), "unguided": (False,)}[options.prompt]
    if options.prompt == "guided":
        require_strategies(problems)
    if options.prompt == "both" and without:
        prompts = (False,)
        if without < len(problems):
            told = f"unguided alone: {without} of {len(problems)} problems have no strategy"
            print(told, file=sys.stderr)
    student = student_of(options.student, chat_template_kwargs=options.chat_template_kwargs)
    texts = (f"{p.question}\n{p.strategy if True in prompts else ''}" for p in problems)
    refuse_unknown_words(student, texts)
    longest = settings_for(options.data, "").get("max_new_tokens", MAX_NEW_TOKENS)
    longest = options.max_new_tokens or longest
    for guided in prompts:  # both are refused before one is measured
        refuse_beyond_window(student, problems, guided=guided, max_new_tokens=longest)
    try_reward(reward, problems)
    diagnostics = Diagnostics()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    for guided in prompts:
        name = "guided" if guided else "unguided"
        evaluation = evaluate(
            student,
            problems,
            guided=guided,
            samples=options.samples,
            temperature=options.temperature,
            top_p=options.top_p,
            max_new_tokens=longest,
            reward=reward,
            batch_size=options.batch_size,
            seed=options.seed,
            progress=name,
            within=diagnostics,
        )
        evaluation.save(out / f"{name}.jsonl")
        how = f"avg@{options.samples}" if options.temperature else "greedy"
        _print_accuracy(name, evaluation, how)
        told = f"{evaluation.cut_off:.1%} of the completions were cut off at {longest} tokens"
        print(f"{name}: {told}, and count as wrong")
        print(f"{name}: every completion is in {out / name}.jsonl")


def _print_accuracy(name: str, evaluation, how: str) -> None:
    """Accuracy with its interval, pass@k, and a line a family; "sure and wrong" ones apart."""
    from ..evaluation import confidence_interval, pass_at_k
    from ..study.runs import SURE_AND_WRONG, mean

    families = evaluation.by_family()
    rows = list(zip(evaluation.problems, evaluation.correct, strict=True))
    for label, apart in ((name, False), (f"{name}, sure and wrong families", True)):
        correct = [row for problem, row in rows if (problem.family in SURE_AND_WRONG) == apart]
        if not correct:
            continue
        accuracies = [mean(row) for row in correct]
        low, high = confidence_interval(accuracies)
        interval = f"95 % interval {low:.4f} to {high:.4f}"
        print(f"{label}: {mean(accuracies):.4f} ({interval}), {how}, {len(correct)} problems")
        if (samples := len(correct[0])) > 1:
            ks = sorted({2**i for i in range(samples.bit_length())} | {samples})  # 1, 2, 4, …
            print(f"{label}: " + ", ".join(f"pass@{k} {pass_at_k(correct, k):.4f}" for k in ks))
        if len(families) > 1:
            for family in [f for f in families if (f in SURE_AND_WRONG) == apart]:
                print(f"  {family or 'no family'}: {mean(families[family]):.4f}")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    parser.set_defaults(run=evaluate_command)
    about = SETTINGS["what is trained, and on what"]
    add_option(parser, "student", "tiny", about["student"])
    add_option(parser, "chat_template_kwargs", None, about["chat_template_kwargs"], json_object)
    more = "; or, from the Hub, math500 (needs the extra math), amc23 or aime24"
    add_option(parser, "data", "mini-gsm", about["data"] + more)
    told = "the answers of the FILE are LaTeX (needs the extra math)"
    for name in COLUMNS:
        add_option(parser, name, "", about[name])
    parser.add_argument("--latex", action="store_true", default=None, help=told)
    add_option(parser, "split", None, SPLIT_HELP)
    add_option(parser, "strategies", "", about["strategies"])
    parser.add_argument(
        "--prompt",
        choices=("both", "guided", "unguided"),
        default="both",
        help="with the strategy, without it, or both (default both; unguided alone where a problem "
        "has no strategy)",
    )
    add_option(parser, "samples", 1, "k of avg@k and pass@k: solutions of each problem", whole(1))
    add_option(
        parser, "temperature", 0.0, "of sampling; 0 takes the likeliest token", number(least=0)
    )
    add_option(parser, "top_p", 1.0, "sample among the tokens with this share", number(above=0))
    longest = SETTINGS["one step"]["max_new_tokens"]
    longest += f" (default {MAX_NEW_TOKENS}; on mini-gsm as in training)"
    add_option(parser, "max_new_tokens", None, longest, whole(1))
    add_option(parser, "batch_size", 128, "solutions at a time: fewer need less memory", whole(1))
    add_option(parser, "limit", 0, "only the first so many problems; 0: all", whole(0))
    add_option(parser, "seed", 0, "draws the samples", whole())
    add_option(parser, "threads", 0, SETTINGS["the run"]["threads"], whole(0))
    completions = "folder for every completion and its verdict; replaces earlier ones there"
    add_option(parser, "out", "runs/evaluation", completions)

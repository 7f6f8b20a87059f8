"""The command line: `python -m sgpo_mini [train | evaluate | pretrain | strategies | compare]`.

A refusal is one sentence on standard error and exit status 2; Ctrl-C exits with 130. Modules are
imported where they are used, so that `--help` need not wait for torch.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

PROGRAM = "python -m sgpo_mini"
SPLIT_HELP = (
    "mini-gsm: train, validation, test, reworded, composed or unseen; gsm8k: train or test "
    "(default test); the others have none"
)

# What each setting means, for `train --help`; the names and defaults are those of training.Config.
SETTINGS = {
    "what is trained, and on what": {
        "student": "tiny (the shipped one), a folder, or a model's name on the Hub",
        "data": "mini-gsm (generated story problems), gsm8k (from the folder that SGPO_GSM8K_DIR "
        "names, else from the Hub), or a FILE.jsonl with question and answer on each line",
        "strategies": "JSONL file with a strategy for each problem id; takes the place of the "
        "strategies that the problems bring along",
        "method": "sgpo; grpo with the same number of rollouts and no strategies; or a method that "
        "is given solutions: sft, luffy or hpt",
    },
    "one step": {
        "steps": "training steps",
        "problems_per_step": "problems drawn for each step",
        "autonomous_rollouts": "G1: solutions sampled without the strategy, for each problem",
        "guided_rollouts": "G2: solutions sampled with the strategy, for each problem",
        "max_new_tokens": "longest solution in tokens; one that is cut off counts as wrong",
        "temperature": "sampling temperature of the rollouts",
        "updates_per_batch": "optimizer steps on the rollouts of one step",
    },
    "learning from its own solutions (GRPO)": {
        "autonomous_grpo": "learn from the autonomous group",
        "clip_low": "the PPO ratio counts down to 1 - clip_low (with one update a batch it is 1)",
        "clip_high": "the PPO ratio counts up to 1 + clip_high",
    },
    "learning from the strategy (distillation)": {
        "strategy_distillation": "distill the guided student into the unguided one",
        "delta": "in nats: a token whose KL is above it is left out; none keeps every token",
        "select_target": "distill the right guided solution that is likeliest to the unguided "
        "student; off: any right one, at random",
        "normalize_target": "mean or sum of a solution's log-probabilities, for that choice",
        "reverse_kl": "KL(autonomous || guided) in place of KL(guided || autonomous)",
        "sft_on_target": "SFT on the chosen guided solution in place of the KL",
        "fixed_alpha": "one weight of the distillation for all problems; none: the adaptive weight",
        "alpha0": "scale of the adaptive weight",
        "gamma": "keeps the adaptive weight finite where no autonomous solution is right",
        "alpha_max": "upper bound of the adaptive weight",
    },
    "learning from given solutions (sft, luffy, hpt)": {
        "given_solution": "expert_solution (a strong model's) or solution (the data's own)",
        "hpt_gate": "hpt learns the given solution where at most so many rollouts are right",
        "sft_tokens_per_step": "solution tokens that sft learns in a step; 0: as many solutions as "
        "the other methods sample",
    },
    "controls": {
        "wrong_strategies": "share of the problems that get another family's strategy",
        "contentless_strategies": "strategies of equal length that say nothing",
    },
    "optimizer and memory": {
        "learning_rate": "AdamW's learning rate",
        "weight_decay": "AdamW's weight decay",
        "max_grad_norm": "a gradient with a larger norm is scaled down to this one",
        "micro_batch": "sequences in one backward pass: fewer need less memory; 0: all at once",
        "lora_rank": "rank of LoRA adapters; 0 trains all weights",
        "gradient_checkpointing": "need less memory by computing activations twice",
    },
    "the run": {
        "evaluate_every": "steps between measurements on validation; 0: none; on mini-gsm alone",
        "early_stop": "end after so many measurements without a new best, with the best weights; "
        "0: never",
        "checkpoint_every": "steps between checkpoints; the last step always gets one",
        "seed": "draws the order of the problems and the rollouts",
        "threads": "CPU threads; 0: as many as torch chooses",
        "out": "folder of the run (default runs/METHOD-SEED)",
        "resume": "go on with the run in --out from its newest checkpoint",
    },
}
_METAVARS = {"data": "NAME|FILE", "strategies": "FILE", "out": "FOLDER", "seeds": "N|N-N"}
_METAVARS |= {"report": "FOLDER", "inspect": "FILE", "measure": "STUDENT", "teacher": "URL|NAME"}
_METAVARS |= {"learning_rate": "X", "methods": "A,B", "temperature": "X", "timeout": "SECONDS"}

# The options of `pretrain` that only its second use has, with their defaults.
_OF_SFT = {
    "data": "mini-gsm",
    "strategies": "",
    "with_strategy": False,
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": 1e-5,
    "micro_batch": 0,
    "lora_rank": 0,
    "gradient_checkpointing": False,
}
MAX_NEW_TOKENS = 256  # of `evaluate`, where the data has no settings of its own

# Where `strategies` gets them from.
SOURCES = {
    "teacher": "ask a strong model (--teacher)",
    "solution": "from worked solutions whose computations are marked as in GSM8K, <<48/2=24>>",
    "subquestions": "from GSM8K's own sub-questions (its socratic configuration)",
    "world": "the true ones of mini-gsm",
}
# The options of `strategies` that only one of its jobs has, with their defaults.
_OF_TEACHER = {
    "teacher": "",
    "teacher_model": "",
    "with_solutions": False,
    "candidates": 5,
    "parallel": 8,
    "timeout": 120.0,
    "max_new_tokens": 2048,
}
_OF_MEASURE = {
    "strategies": "",
    "samples": 8,
    "temperature": 1.0,
    "batch_size": 256,
    "max_new_tokens": None,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["compare", *arguments]  # the main job
    options = None
    try:
        options, unknown = _parser(arguments[0]).parse_known_args(arguments)
        if unknown:
            told = f"there is no option {shlex.join(unknown)}"
            raise ValueError(f"{told} (see {PROGRAM} {arguments[0]} --help)")
        options.run(options)
    except (OSError, RuntimeError, ValueError) as error:
        sentence = " ".join(str(error).split()) or type(error).__name__
        print(f"sgpo_mini: {sentence}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nsgpo_mini: {_after_a_stop(arguments, options)}", file=sys.stderr)
        return 130
    return 0


def _after_a_stop(arguments: list[str], options: argparse.Namespace | None) -> str:
    """What to say after Ctrl-C: the command that goes on, where something was saved."""
    out = getattr(options, "out", None)
    if out is None or options.run is _evaluate:
        return "stopped"
    if options.run is _strategies and options.source != "teacher":
        return "stopped: nothing is saved"
    arguments = list(arguments)
    if not any(word.split("=")[0] == "--out" for word in arguments):
        arguments += ["--out", out]
    if options.run not in (_main_job, _strategies):  # the same command goes on with those
        if not (Path(out) / "config.json").exists():
            return "stopped before the run began: nothing is saved"
        arguments += [] if "--resume" in arguments else ["--resume"]
    return f"stopped; go on with: {PROGRAM} {shlex.join(arguments)}"


def _main_job(options: argparse.Namespace) -> None:
    """GRPO and SGPO side by side; with --methods the rows of the whole comparison."""
    from .comparison import report_comparison, run_comparison
    from .report import run_and_report

    if options.report:
        report_comparison(options.report)
        return print(f"report and figures: {Path(options.report) / 'report.md'}")
    seeds = _seeds(options.seeds)
    # As the report names it: without the folder, which changes nothing.
    flags = {"--methods": options.methods, "--seeds": options.seeds, "--steps": options.steps}
    flags["--student"] = options.student
    if Path(options.student).is_absolute():
        flags["--student"] = Path(options.student).name
    defaults = {"--methods": "", "--seeds": "0", "--steps": None, "--student": "tiny"}
    told = [f"{flag} {value}" for flag, value in flags.items() if value != defaults[flag]]
    command = " ".join([PROGRAM, *(["compare"] if told else []), *told])
    settings = {"seeds": seeds, "steps": options.steps, "command": command}
    settings["student"] = options.student
    if options.methods:
        text = run_comparison(options.out, _rows(options.methods), **settings)
    else:
        text = run_and_report(options.out, **settings)
    print(text.split("![")[0].strip())
    print(f"\nreport and figures: {Path(options.out) / 'report.md'}")


def _train(options: argparse.Namespace) -> None:
    from .benchmarks import BENCHMARKS
    from .compare import validation_problems
    from .make_tiny import settings_for
    from .training import Config, train

    names = {field.name for field in fields(Config)}
    given = {name: value for name, value in vars(options).items() if name in names}
    data = given.get("data", "mini-gsm")
    config = Config(**settings_for(data, given.get("method", "sgpo")) | given)
    config.out = options.out = config.out or f"runs/{config.method}-{config.seed}"
    config.check()
    if data in BENCHMARKS:
        raise ValueError(f"{data} is there to evaluate on: train on other problems")
    if config.evaluate_every and data != "mini-gsm":
        raise ValueError("evaluate_every needs validation problems, which only mini-gsm has")
    problems = _problems(data, "train", config.strategies)
    validation = validation_problems() if data == "mini-gsm" else None
    student = _student(config.student, config.lora_rank, config.gradient_checkpointing)
    train(student, problems, config, validation=validation)
    print(f"trained student: {Path(config.out) / 'student'}")


def _evaluate(options: argparse.Namespace) -> None:
    from .benchmarks import BENCHMARKS
    from .evaluation import evaluate
    from .latex import latex_reward
    from .make_tiny import settings_for
    from .problems import numeric_reward
    from .strategies import require_strategies
    from .student import refuse_unknown_words

    if options.samples > 1 and options.temperature == 0:
        raise ValueError("several samples a problem need a temperature above 0 (--temperature 1)")
    if options.top_p > 1:
        raise ValueError(f"top_p must be above 0 and at most 1, not {options.top_p}")
    if options.split and (options.data.endswith(".jsonl") or options.data in BENCHMARKS):
        raise ValueError(f"{options.data} has no splits: leave --split out")
    if options.latex and not options.data.endswith(".jsonl"):
        raise ValueError("--latex is for a FILE.jsonl: other data knows what its answers are")
    _set_threads(options.threads)
    split = options.split or "test"
    problems = _problems(options.data, split, options.strategies, options.latex)
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
    student = _student(options.student)
    texts = (f"{p.question}\n{p.strategy if True in prompts else ''}" for p in problems)
    refuse_unknown_words(student, texts)
    longest = settings_for(options.data, "").get("max_new_tokens", MAX_NEW_TOKENS)
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
            max_new_tokens=options.max_new_tokens or longest,
            reward=reward,
            batch_size=options.batch_size,
            seed=options.seed,
            progress=name,
        )
        evaluation.save(out / f"{name}.jsonl")
        how = f"avg@{options.samples}" if options.temperature else "greedy"
        _print_accuracy(name, evaluation, how)
        print(f"{name}: every completion is in {out / name}.jsonl")


def _print_accuracy(name: str, evaluation, how: str) -> None:
    """Accuracy with its interval, pass@k, and a line a family; "sure and wrong" ones apart."""
    from .compare import SURE_AND_WRONG, mean
    from .evaluation import confidence_interval, pass_at_k

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
            print(f"{label}: pass@{samples} {pass_at_k(correct, samples):.4f}")
        if len(families) > 1:
            for family in [f for f in families if (f in SURE_AND_WRONG) == apart]:
                print(f"  {family or 'no family'}: {mean(families[family]):.4f}")


def _pretrain(options: argparse.Namespace) -> None:
    new = options.student == "new"
    others = _OF_SFT if new else ["steps"]
    if given := [name for name in others if getattr(options, name) is not None]:
        flags = ", ".join(map(_flag, given))
        use = "the tiny student's pretraining" if new else "the warm-up (it counts --epochs)"
        raise ValueError(f"{use} has no {flags}: see {PROGRAM} pretrain --help")
    options.out = options.out or f"runs/{'student' if new else 'warm-up'}-{options.seed}"
    _set_threads(options.threads)
    (_make_tiny if new else _warm_up)(options)
    print(f"student: {Path(options.out) / 'student'}")


def _make_tiny(options: argparse.Namespace) -> None:
    from .make_tiny import STEPS, make_tiny_student, save_tiny_student

    steps = options.steps or STEPS
    student = make_tiny_student(options.seed, steps=steps, out=options.out, resume=options.resume)
    measured = save_tiny_student(student, Path(options.out) / "student", options.seed, steps)
    for name in ("guided", "unguided"):
        value, low, high = measured[name]
        print(f"{name}: {value:.4f} (95 % interval {low:.4f} to {high:.4f}) on validation")


def _warm_up(options: argparse.Namespace) -> None:
    from .student import refuse_unknown_words, save_student
    from .supervised import warm_up

    given = {name: getattr(options, name) for name in _OF_SFT}
    settings = _OF_SFT | {name: value for name, value in given.items() if value is not None}
    problems = _problems(settings.pop("data"), "train", settings.pop("strategies"))
    student = _student(
        options.student, settings.pop("lora_rank"), settings.pop("gradient_checkpointing")
    )
    with_strategy = settings["with_strategy"]
    refuse_unknown_words(
        student,
        (f"{p.question}\n{p.strategy if with_strategy else ''}\n{p.solution}" for p in problems),
    )
    warm_up(
        student, problems, seed=options.seed, out=options.out, resume=options.resume, **settings
    )
    save_student(student, Path(options.out) / "student")


def _strategies(options: argparse.Namespace) -> None:
    jobs = {"source": _make_strategies, "inspect": _inspect, "measure": _measure}
    given = [name for name in jobs if getattr(options, name)]
    if len(given) != 1:
        raise ValueError(
            "give one of --source (make strategies), --inspect FILE (look at them) and "
            f"--measure STUDENT (do they help?): see {PROGRAM} strategies --help"
        )
    job = given[0]
    used = _OF_MEASURE if job == "measure" else {}
    if options.source == "teacher":
        used = _OF_TEACHER
    names = sorted({*_OF_TEACHER, *_OF_MEASURE} - set(used))
    names += [] if job == "source" else ["out"]
    if others := [name for name in names if getattr(options, name) is not None]:
        told = f"--source {options.source}" if job == "source" else f"--{job}"
        raise ValueError(f"{told} has no {', '.join(map(_flag, others))}")
    for name, default in used.items():
        if getattr(options, name) is None:
            setattr(options, name, default)
    if options.split and (options.data or "").endswith(".jsonl"):
        raise ValueError(f"{options.data} has no splits: leave --split out")
    _set_threads(options.threads)
    jobs[job](options)


def _make_strategies(options: argparse.Namespace) -> None:
    from .problems import load_gsm8k
    from .strategies import Strategy

    source, data, split = options.source, options.data or "mini-gsm", options.split or "train"
    options.out = options.out or f"runs/strategies-{source}.jsonl"
    if not options.out.endswith(".jsonl"):
        raise ValueError(f"out must be a file that ends in .jsonl, not {options.out!r}")
    if source == "world" and data != "mini-gsm":
        raise ValueError(f"--source world is for --data mini-gsm, not {data}")
    if source == "subquestions" and data == "mini-gsm":
        raise ValueError(
            "--source subquestions is for --data gsm8k, or a FILE.jsonl whose solutions have "
            "sub-questions; mini-gsm has none"
        )
    if source == "subquestions" and data == "gsm8k":
        problems = load_gsm8k(split, "socratic")
    else:
        problems = _problems(data, split, "")
    problems = problems[: options.limit or None]
    if source == "teacher":
        _ask_teacher(options, problems)
    elif source == "world":
        _read_strategies(options.out, problems, lambda p: Strategy.parse(p.strategy))
    else:
        from . import worked_solutions

        _read_strategies(
            options.out,
            problems,
            worked_solutions.strategy_from_solution
            if source == "solution"
            else worked_solutions.strategy_from_subquestions,
        )


def _ask_teacher(options: argparse.Namespace, problems: list) -> None:
    from .extraction import extract_strategies
    from .teacher_store import summary
    from .teachers import open_teacher

    if not options.teacher:
        raise ValueError(
            "--source teacher needs --teacher: the URL of a server, a folder, or a model's name on "
            "the Hub"
        )
    _quiet_loading()
    found = extract_strategies(
        problems,
        open_teacher(options.teacher, options.teacher_model, timeout=options.timeout),
        options.out,
        candidates=options.candidates,
        parallel=options.parallel,
        with_solutions=options.with_solutions,
        max_new_tokens=options.max_new_tokens,
    )
    print(summary(options.out, problems))
    if not found:
        raise ValueError("no strategy was kept")
    print(f"strategies: {options.out}")


def _read_strategies(out: str, problems: list, read: Callable) -> None:
    """Strategies that need no model, and a file beside them with what can't be read and why."""
    import json

    from .strategies import leaks, save_strategies

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
    save_strategies(out, strategies)
    failed = Path(out).with_suffix(".failed.jsonl")
    failed.unlink(missing_ok=True)  # of a store that was here before
    distinct = len(set(strategies.values()))
    print(f"kept {len(strategies)} of {len(problems)}, {distinct} distinct")
    if unread:
        rows = [json.dumps({"id": i, "reason": r}, ensure_ascii=False) for i, r in unread.items()]
        failed.write_text("\n".join(rows) + "\n", encoding="utf-8")
        first = next(iter(unread.values()))
        print(f"could not be read: {len(unread)}, told in {failed} (the first: {first})")
    print(f"strategies: {out}")


def _inspect(options: argparse.Namespace) -> None:
    from .inspection import inspect_strategies
    from .strategies import load_strategies

    problems = None
    if options.data:
        problems = _problems(options.data, options.split or "train", "")[: options.limit or None]
    print(inspect_strategies(load_strategies(options.inspect), problems, options.seed))


def _measure(options: argparse.Namespace) -> None:
    import random

    from .compare import SURE_AND_WRONG
    from .make_tiny import settings_for
    from .strategies import load_strategies
    from .strategy_measure import measure_strategies
    from .student import refuse_unknown_words

    data = options.data or "mini-gsm"
    if options.temperature == 0 and options.samples > 1:
        raise ValueError("several samples a problem need a temperature above 0")
    problems = _problems(data, options.split or "train", options.strategies)
    if options.strategies:  # the others would be measured with strategies that are not in the file
        strategies = load_strategies(options.strategies)
        problems = [problem for problem in problems if problem.id in strategies]
    problems = [problem for problem in problems if problem.family not in SURE_AND_WRONG]
    if options.limit and options.limit < len(problems):
        problems = random.Random(options.seed).sample(problems, options.limit)
    student = _student(options.measure)
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


def _quiet_loading() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()  # of reading weights: seconds at most, and a line on the screen


def _student(name: str, lora_rank: int = 0, gradient_checkpointing: bool = False):
    from .student import load_student

    _quiet_loading()
    return load_student(name, lora_rank=lora_rank, gradient_checkpointing=gradient_checkpointing)


def _problems(data: str, split: str, strategies: str, latex: bool | None = None) -> list:
    from .benchmarks import BENCHMARKS, load_benchmark
    from .latex import reads_as_latex
    from .mini_gsm import make_problems
    from .problems import load_gsm8k, load_problems
    from .strategies import load_strategies, with_strategies

    benchmarks = BENCHMARKS if split == "test" else {}  # to evaluate on, not to train on
    if data == "mini-gsm":
        problems = list(make_problems(split))
    elif data == "gsm8k":
        problems = load_gsm8k(split)
    elif data in benchmarks:
        problems = load_benchmark(data)
    elif data.endswith(".jsonl"):
        problems = load_problems(data, reads_as_latex if latex else None)
    else:
        names = ", ".join(["mini-gsm", "gsm8k", *benchmarks])
        raise ValueError(f"data must be {names} or a file that ends in .jsonl, not {data!r}")
    return with_strategies(problems, load_strategies(strategies)) if strategies else problems


def _rows(text: str) -> list[str]:
    """The rows that --methods names; `all` is every one."""
    from .rows import ROWS

    return list(ROWS) if text == "all" else [name.strip() for name in text.split(",")]


def _set_threads(threads: int) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)


def _seeds(text: str) -> list[int]:
    first, dash, last = text.partition("-")
    try:
        seeds = list(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        seeds = []
    if not seeds:
        raise ValueError(f"seeds must be a number or a range such as 0-4, not {text!r}")
    return seeds


# Readers of one option's text.


def _whole(least: int | None = None) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or (least is not None and number < least):
            limit = "" if least is None else f" of at least {least}"
            raise argparse.ArgumentTypeError(f"must be a whole number{limit}, not {text!r}")
        return number

    return read


def _number(least: float | None = None, above: float | None = None) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        low = (least is not None and number < least) or (above is not None and number <= above)
        if low or not math.isfinite(number):
            limit = "" if least is None else f" of at least {least}"
            limit += "" if above is None else f" above {above}"
            raise argparse.ArgumentTypeError(f"must be a finite number{limit}, not {text!r}")
        return number

    return read


def _number_or_none(text: str) -> float | None:
    if text.lower() == "none":
        return None
    try:
        return float(text)  # Config.check knows what is possible
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or none, not {text!r}") from None


# The parsers.


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> None:
        """One sentence, without the pages of usage."""
        self.exit(2, f"sgpo_mini: {message} (see {self.prog} --help)\n")


def _parser(word: str) -> argparse.ArgumentParser:
    """The whole parser; `train` gets its options, which take torch to read, only as the `word`."""
    parser = _Parser(
        prog=PROGRAM,
        description="SGPO (Strategy-Guided Policy Optimization, arXiv:2606.24064) on one machine. "
        "Without a word it does the main job: from the shipped student, GRPO and SGPO at equal "
        "rollouts, measured on every split of mini-GSM, with a report and figures in runs/main.",
        epilog=f"The options of a word: {PROGRAM} WORD --help",
    )
    words = parser.add_subparsers(metavar="WORD", title="words")

    def add(name: str, about: str, more: str = "") -> argparse.ArgumentParser:
        return words.add_parser(
            name,
            usage=f"{PROGRAM} {name} [options]",
            help=about,
            description=f"{about[0].upper()}{about[1:]}. {more}",
        )

    _add_train(
        add("train", "one run of one method, with every setting", "The defaults are the paper's."),
        with_settings=word == "train",
    )
    _add_evaluate(
        add("evaluate", "how often a student is right, guided and unguided: avg@k and pass@k")
    )
    _add_pretrain(add("pretrain", "make the tiny student anew, or warm a model up on solutions"))
    _add_strategies(
        add(
            "strategies",
            "make strategies, look at them, or measure whether they help a student",
            "A strategy says what kind of problem it is, how to approach it and by which steps, "
            "without its numbers. They are kept in a file of one JSON object a line (id, "
            "problem_type, approach, steps), which may be written and corrected by hand, and which "
            "train takes as --strategies FILE. Give one of --source, --inspect and --measure.",
        )
    )
    _add_compare(
        add(
            "compare",
            "GRPO and SGPO side by side, over several seeds: the main job",
            "With --methods: any baselines, ablations and controls, each against sft+grpo.",
        )
    )
    return parser


def _add_train(parser: argparse.ArgumentParser, with_settings: bool) -> None:
    parser.set_defaults(run=_train)
    if not with_settings:
        return
    from .training import Config

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
                readers = {int: _whole(), float: _number(), str: str}
                keywords["type"] = readers.get(field.type, _number_or_none)
                kinds = {int: "N", str: "NAME"}
                keywords["metavar"] = _METAVARS.get(name) or kinds.get(field.type, "X")
            group.add_argument(_flag(name), **keywords)


def _default_text(field) -> str:
    """The default of a setting in words, and what the tiny student has in its place on mini-gsm."""
    from .make_tiny import settings_for
    from .training import METHODS

    if field.default == "" or field.name == "resume":
        return ""
    text = f" (default {_show(field.default)}"
    chosen = {method: settings_for("mini-gsm", method).get(field.name) for method in METHODS}
    values = {value for value in chosen.values() if value is not None} - {field.default}
    if not values:
        return text + ")"
    if set(chosen.values()) == values and len(values) == 1:
        return f"{text}; on mini-gsm {_show(*values)})"
    by_value: dict[str, list[str]] = {}
    for method, value in chosen.items():
        if value is not None:
            by_value.setdefault(_show(value), []).append(method)
    told = [f"{value} with {' and '.join(methods)}" for value, methods in by_value.items()]
    return f"{text}; on mini-gsm {', '.join(told)})"


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_evaluate)
    about = SETTINGS["what is trained, and on what"]
    _add(parser, "student", "tiny", about["student"])
    more = "; or, from the Hub, math500 (needs the extra math), amc23 or aime24"
    _add(parser, "data", "mini-gsm", about["data"] + more)
    told = "the answers of the FILE.jsonl are LaTeX (needs the extra math)"
    parser.add_argument("--latex", action="store_true", default=None, help=told)
    _add(parser, "split", None, SPLIT_HELP)
    _add(parser, "strategies", "", about["strategies"])
    parser.add_argument(
        "--prompt",
        choices=("both", "guided", "unguided"),
        default="both",
        help="with the strategy, without it, or both (default both; unguided alone where a problem "
        "has no strategy)",
    )
    _add(parser, "samples", 1, "k of avg@k and pass@k: solutions of each problem", _whole(1))
    _add(parser, "temperature", 0.0, "of sampling; 0 takes the likeliest token", _number(least=0))
    _add(parser, "top_p", 1.0, "sample among the tokens with this share", _number(above=0))
    longest = SETTINGS["one step"]["max_new_tokens"]
    longest += f" (default {MAX_NEW_TOKENS}; on mini-gsm as in training)"
    _add(parser, "max_new_tokens", None, longest, _whole(1))
    _add(parser, "batch_size", 256, "solutions at a time: fewer need less memory", _whole(1))
    _add(parser, "limit", 0, "only the first so many problems; 0: all", _whole(0))
    _add(parser, "seed", 0, "draws the samples", _whole())
    _add(parser, "threads", 0, SETTINGS["the run"]["threads"], _whole(0))
    completions = "folder for every completion and its verdict; replaces earlier ones there"
    _add(parser, "out", "runs/evaluation", completions)


def _add_pretrain(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_pretrain)
    what = "new: the tiny student, from nothing; else SFT of this folder or model on the Hub"
    _add(parser, "student", "new", what)
    _add(parser, "seed", 0, "draws the examples and a new student's first weights", _whole())
    _add(parser, "threads", 0, SETTINGS["the run"]["threads"], _whole(0))
    out = "folder of the run (default runs/student-SEED for new, runs/warm-up-SEED for SFT)"
    _add(parser, "out", "", out)
    parser.add_argument("--resume", action="store_true", help=SETTINGS["the run"]["resume"])
    group = parser.add_argument_group("new alone")
    _add(group, "steps", None, "training steps (default: as the shipped student)", _whole(1))
    group = parser.add_argument_group("SFT alone")
    about = SETTINGS["what is trained, and on what"] | SETTINGS["optimizer and memory"]
    about |= {
        "with_strategy": "put each problem's strategy into the prompt",
        "epochs": "how often every solution is learnt",
        "batch_size": "solutions in one step",
    }
    readers = {"epochs": _whole(1), "batch_size": _whole(1), "learning_rate": _number(above=0)}
    for name, default in _OF_SFT.items():
        if default is False:
            group.add_argument(_flag(name), action="store_true", default=None, help=about[name])
        else:
            reader = readers.get(name, _whole(0) if default == 0 else str)
            text = about[name] + (f" (default {_show(default)})" if default != "" else "")
            _add(group, name, None, text, reader)


def _add_strategies(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_strategies)
    about = SETTINGS["what is trained, and on what"] | SETTINGS["the run"]
    sources = "; ".join(f"{name}: {text}" for name, text in SOURCES.items())
    group = parser.add_argument_group("what to do: one of these")
    group.add_argument("--source", choices=SOURCES, help=f"make strategies. {sources}")
    _add(group, "inspect", "", "counts, lengths, leaks, reuse, and ten of FILE at random")
    what = "p_auto and p_guide of this student (tiny, a folder, a name on the Hub), and with "
    _add(group, "measure", "", f"{what}the strategies shuffled, and with a text that says nothing")
    group = parser.add_argument_group("which problems")
    data = "(default mini-gsm; with --inspect none: the strategies are shown without problems)"
    _add(group, "data", None, f"{about['data']} {data}")
    _add(group, "split", None, SPLIT_HELP.replace("default test", "default train"))
    limit = "only so many problems, the first ones (with --measure drawn by --seed); 0: all"
    _add(group, "limit", 0, limit, _whole(0))
    _add(group, "seed", 0, "draws what is shown, measured or sampled", _whole())
    _add(group, "threads", 0, about["threads"], _whole(0))
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
    readers |= {"timeout": _number(above=0), "temperature": _number(least=0)}
    for title, options in (("", _OF_TEACHER), ("--measure", _OF_MEASURE)):
        group = parser.add_argument_group(title) if title else group
        for name, default in options.items():
            if default is False:
                group.add_argument(_flag(name), action="store_true", default=None, help=told[name])
            elif default is not None:  # the limit on tokens is there already
                text = told[name] if "(default" in told[name] or default == "" else ""
                text = text or f"{told[name]} (default {_show(default)})"
                _add(group, name, None, text, readers.get(name, _whole(1)))


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_main_job)
    _add(parser, "student", "tiny", "tiny (the shipped one), or a folder that `pretrain` made")
    rows = (
        "rows of the whole comparison, such as sgpo,luffy,shuffled, or all (rows.py lists them); "
    )
    _add(parser, "methods", "", rows + "left out: grpo and sgpo, the main job")
    _add(parser, "seeds", "0", "a number or a range such as 0-4")
    _add(parser, "steps", None, "training steps of every run (default 200)", _whole(1))
    _add(parser, "out", "runs/main", "folder of the runs; the same command goes on with them")
    _add(parser, "report", "", "only: write again what the packed runs of such a FOLDER say")


def _add(parser, name: str, default, about: str, read: Callable = str) -> None:
    """Add an option that takes a value; its default is told where there is one."""
    told = "" if default in ("", None) else f" (default {_show(default)})"
    kind = "NAME" if read is str else "X" if isinstance(default, float) else "N"
    parser.add_argument(
        _flag(name),
        metavar=_METAVARS.get(name, kind),
        type=read,
        default=default,
        help=about + told,
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _show(value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())

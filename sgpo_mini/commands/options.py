"""What the commands share: the help of every setting, readers of option values, and what they load.

Modules are imported where they are used, so that `--help` need not wait for torch.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields
from pathlib import Path

from ..config import DTYPES, Config

PROGRAM = "python -m sgpo_mini"
SPLITS = (
    "split of mini-gsm (train, validation, test, reworded, composed, new_pairs, longer, unseen, "
    "easy, hard, sure_and_wrong) or of gsm8k (train, test, and warmup, rl and validation, which "
    "are parts of train); other data has no splits"
)
BATCH_SIZE = "completions generated at a time (default: as many as memory allows)"
TEMPLATE = 'options of the chat template as a JSON object, such as {"enable_thinking": false}'

# The help text of each setting, for `train --help`; names and defaults come from config.Config.
SETTINGS = {
    "student and problems": {
        "student": "tiny (the shipped student), a folder, or a model's name on the Hub",
        "data": "mini-gsm (generated word problems), gsm8k (read from the folder in SGPO_GSM8K_DIR "
        "if that is set, else from the Hub), or a FILE with a question and an answer in each row "
        "(.jsonl, .json with a list, .csv, .tsv or .parquet)",
        "split": "problems to learn from: of gsm8k train, or one of its disjoint parts warmup (a "
        "half) and rl (a third; the last sixth is the split validation); of mini-gsm train, easy "
        "or hard",
        "calculations": "use only gsm8k's problems whose solution has exactly N calculations; 0: "
        "all",
        "question_column": "column of the FILE with the questions (default: the first it has of "
        "question, problem, prompt)",
        "answer_column": "column of the FILE with the answers, or with solutions that end in #### "
        "ANSWER or \\boxed{ANSWER} (default: the first it has of answer, ground_truth, solution)",
        "strategies": "JSONL file with one strategy per problem id; replaces the strategies that "
        "come with the problems",
        "chat_template_kwargs": f"{TEMPLATE}; they are saved with the student",
        "only_with_strategies": "leave out problems without a strategy, whatever the method; when "
        "off, sgpo refuses to train on them",
        "grpo_without_strategy": "sgpo: learn from problems without a strategy by GRPO alone",
        "method": "sgpo; grpo (as many rollouts, no strategies); or sft, luffy or hpt, which learn "
        "from given solutions",
    },
    "one step": {
        "steps": "training steps",
        "problems_per_step": "problems drawn for each step",
        "autonomous_rollouts": "G1: completions per problem sampled without the strategy",
        "guided_rollouts": "G2: completions per problem sampled with the strategy",
        "max_new_tokens": "length limit of a completion in tokens; one that reaches it is cut off "
        "and counts as wrong",
        "temperature": "sampling temperature of the rollouts",
        "updates_per_batch": "optimizer updates on the rollouts of one step",
    },
    "learning from autonomous rollouts (GRPO)": {
        "autonomous_grpo": "add the GRPO loss of the autonomous group",
        "clip_low": "clip the PPO ratio below 1 - clip_low (no effect with one update per batch)",
        "clip_high": "clip the PPO ratio above 1 + clip_high",
    },
    "learning from the strategy (distillation)": {
        "strategy_distillation": "add the KL from the guided to the unguided student",
        "delta": "KL clipping threshold in nats: tokens with a larger KL are left out of the loss; "
        "none keeps every token",
        "select_target": "distill the correct guided completion that is most likely under the "
        "unguided prompt; when off, a random correct one",
        "normalize_target": "for that choice, the mean or the sum of a completion's token "
        "log-probabilities",
        "reverse_kl": "use KL(autonomous || guided) instead of KL(guided || autonomous)",
        "sft_on_target": "use SFT on the chosen guided completion instead of the KL",
        "fixed_alpha": "the same distillation weight for every problem; none: the adaptive weight",
        "alpha0": "scale of the adaptive weight",
        "gamma": "keeps the adaptive weight finite when no autonomous completion is correct",
        "alpha_max": "upper bound of the adaptive weight",
    },
    "learning from given solutions (sft, luffy, hpt)": {
        "given_solution": "expert_solution (from a strong model) or solution (from the data)",
        "calculation_notes": "learn gsm8k's solutions with their notes, such as <<48/2=24>>",
        "hpt_gate": "hpt learns the given solution of a problem if at most this many of its "
        "rollouts are correct",
        "sft_tokens_per_step": "solution tokens that sft learns in one step; 0: as many solutions "
        "as the other methods sample",
    },
    "optimizer and memory": {
        "learning_rate": "learning rate of AdamW",
        "weight_decay": "weight decay of AdamW",
        "max_grad_norm": "gradients with a larger norm are scaled down to this norm",
        "micro_batch_tokens": "tokens in one backward pass; fewer need less memory; 0: no limit",
        "lora_rank": "rank of LoRA adapters; 0: train all weights",
        "dtype": f"what the student computes in: {', '.join(DTYPES[1:])}, or {DTYPES[0]}, which is "
        "float32 on a CPU; bfloat16 is faster on a CPU with AMX",
        "gradient_checkpointing": "recompute activations in the backward pass to save memory",
    },
    "the run": {
        "evaluate_every": "measure validation accuracy every N steps, if the data has a "
        "validation split; 0: never",
        "early_stop": "stop after N measurements without a new best accuracy, and keep the best "
        "weights; 0: never",
        "checkpoint_every": "save a checkpoint every N steps, and after the last step",
        "seed": "random seed of the order of the problems and of the rollouts",
        "threads": "CPU threads; 0: one for each core that is idle at the start (beside a busy "
        "process two threads on two cores took 7 times as long as one)",
        "out": "folder of the run (default runs/METHOD-SEED)",
        "resume": "continue the run in --out from its newest checkpoint",
    },
}
METAVARS = {
    "data": "NAME|FILE",
    "strategies": "FILE",
    "out": "FOLDER",
    "seeds": "N|N-N",
    "report": "FOLDER",
    "export": "FOLDER",
    "inspect": "FILE",
    "measure": "STUDENT",
    "teacher": "URL|NAME",
    "chat_template_kwargs": "JSON",
    "learning_rate": "X",
    "temperature": "X",
    "methods": "A,B",
    "timeout": "SECONDS",
}
COLUMNS = ("question_column", "answer_column")


# Options


def add_settings(parser, names: Iterable[str], told_default: Callable[[Field], str]) -> None:
    """Add the settings `names` of Config as options, in the groups of SETTINGS.

    An option that is not given is left out of the namespace, so Config's default applies;
    `told_default` puts that default into the help.
    """
    defined = {field.name: field for field in fields(Config)}
    kinds = {int: (whole(), "N"), float: (number(), "X"), str: (str, "NAME")}
    kinds[dict | None] = (json_object, "JSON")
    for title, settings in SETTINGS.items():
        shown = [name for name in settings if name in names]
        group = parser.add_argument_group(title) if shown else None
        for name in shown:
            field = defined[name]
            about = settings[name] + told_default(field)
            keywords = {"default": argparse.SUPPRESS, "help": about}
            if name == "resume":
                keywords |= {"action": "store_true"}
            elif field.type is bool:
                keywords |= {"action": argparse.BooleanOptionalAction}
            else:
                read, metavar = kinds.get(field.type, (number_or_none, "X"))
                keywords |= {"type": read, "metavar": METAVARS.get(name, metavar)}
            group.add_argument(flag(name), **keywords)


def add_option(parser, name: str, default, about: str, read: Callable = str) -> None:
    """Add an option that takes a value; the help ends with its default, if it has one."""
    told = "" if default in ("", None) else f" (default {show(default)})"
    kind = "NAME" if read is str else "X" if isinstance(default, float) else "N"
    parser.add_argument(
        flag(name),
        metavar=METAVARS.get(name, kind),
        type=read,
        default=default,
        help=about + told,
    )


def flag(name: str) -> str:
    """The option of a setting: "--lora-rank" for "lora_rank"."""
    return "--" + name.replace("_", "-")


def show(value) -> str:
    """A default as the help prints it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


# Readers of an option's value, for argparse


def whole(least: int | None = None) -> Callable[[str], int]:
    """A reader of whole numbers."""
    return _reader(int, "a whole number", least)


def number(least: float | None = None, above: float | None = None) -> Callable[[str], float]:
    """A reader of finite numbers."""
    return _reader(float, "a finite number", least, above)


def _reader(convert: Callable, kind: str, least=None, above=None) -> Callable:
    limit = "" if least is None else f" of at least {least}"
    limit += "" if above is None else f" above {above}"

    def read(text: str):
        try:
            value = convert(text)
        except ValueError:
            value = math.nan
        low = (least is not None and value < least) or (above is not None and value <= above)
        if low or not -math.inf < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be {kind}{limit}, not {text!r}")
        return value

    return read


def json_object(text: str) -> dict:
    """Read a JSON object."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        told = f"""must be a JSON object such as '{{"enable_thinking": false}}', not {text!r}"""
        raise argparse.ArgumentTypeError(told)
    return value


def number_or_none(text: str) -> float | None:
    """Read a number, or "none"; `Config.check` knows which numbers are possible."""
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or none, not {text!r}") from None


# What the options name


def problems_of(
    data: str,
    split: str,
    strategies: str,
    options: Mapping | None = None,
    latex: bool | None = None,
) -> list:
    """The problems in --data, with the strategies of the file in --strategies, if one is given.

    Of a command's `options`, the COLUMNS and `calculations` (of `load_gsm8k`) are read. Raises
    ValueError if there is no such data, split or column, and OSError if a file can't be read.
    """
    from ..benchmarks import BENCHMARKS, load_benchmark
    from ..mini_gsm.world import make_problems
    from ..problems import load_gsm8k, load_problems
    from ..strategies import load_strategies, with_strategies
    from ..support.latex import reads_as_latex
    from ..support.records import FILE_ENDINGS

    options = options or {}
    named = {name: options[name] for name in COLUMNS if options.get(name)}
    calculations = options.get("calculations") or 0
    if named and not is_file(data):
        raise ValueError(f"{data} has no {', '.join(map(flag, named))}: use them with a FILE only")
    if calculations and data != "gsm8k":
        raise ValueError(f"{data} has no --calculations: use it with gsm8k only")
    benchmarks = BENCHMARKS if split == "test" else {}  # for evaluation only
    if data == "mini-gsm":
        problems = list(make_problems(split))
    elif data == "gsm8k":
        problems = load_gsm8k(split, calculations=calculations)
    elif data in benchmarks:
        problems = load_benchmark(data)
    elif is_file(data):
        problems = load_problems(data, reads_as_latex if latex else None, **named)
    else:
        names = ", ".join(["mini-gsm", "gsm8k", *benchmarks])
        endings = " or ".join([", ".join(FILE_ENDINGS[:-1]), FILE_ENDINGS[-1]])
        raise ValueError(f"data must be {names} or a file that ends in {endings}, not {data!r}")
    return with_strategies(problems, load_strategies(strategies)) if strategies else problems


def training_problems(data: str, split: str, strategies: str, options: Mapping) -> list:
    """As `problems_of`, for training; ValueError if the split is not for training."""
    allowed = {"gsm8k": ("train", "warmup", "rl"), "mini-gsm": ("train", "easy", "hard")}
    if split != "train" and data not in allowed:
        raise ValueError(f"{data} has one training split, train: leave --split out")
    if split != "train" and split not in allowed[data]:
        names = ", ".join(allowed[data])
        raise ValueError(f"{data}'s splits for training are {names}, not {split!r}")
    return problems_of(data, split, strategies, options)


def is_file(data: str) -> bool:
    """Whether --data names a file."""
    from ..support.records import FILE_ENDINGS

    return data.lower().endswith(FILE_ENDINGS)


def longest_completion(max_new_tokens: int | None, data: str) -> int:
    """The length limit in tokens: --max-new-tokens if given, else the one of training on `data`."""
    from ..mini_gsm.pretraining import settings_for

    chosen = settings_for(data, "").get("max_new_tokens", Config.max_new_tokens)
    return max_new_tokens or chosen


def student_of(name: str, **settings):
    """The student in --student, loaded with settings; ValueError if it can't be loaded."""
    from ..student import load_student

    quiet_loading()
    return load_student(name, **settings)


def quiet_loading() -> None:
    """Hide the progress bar of loading weights: it takes seconds at most."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def set_threads(threads: int, resumed: str = "") -> None:
    """Use so many CPU threads; with 0, those of the run that is resumed, or of the idle cores."""
    import torch

    from ..support.cores import idle_threads
    from ..support.files import read_json

    path = Path(resumed) / "config.json"
    if not threads and resumed and path.is_file():
        threads = read_json(
            path, "restore a copy of it, or start the run again with another --out"
        ).get("threads", 0)
    most = torch.get_num_threads()
    if not threads and (idle := idle_threads()) < most:
        print(
            f"sgpo_mini: {idle} of {most} CPU threads, because other work keeps cores busy "
            f"(--threads {most} uses all, and may be far slower)",
            file=sys.stderr,
        )
        threads = idle
    if threads:
        torch.set_num_threads(threads)

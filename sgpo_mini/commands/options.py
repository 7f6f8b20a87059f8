"""What the commands' options share: their words, their defaults in words, readers of their text."""

import argparse
import json
import math
from collections.abc import Callable

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
        "names, else from the Hub), or a FILE with a question and an answer in each row (.jsonl, "
        ".json with a list, .csv, .tsv or .parquet)",
        "question_column": "the FILE's column with the questions (default: question, problem or "
        "prompt, the first that there is)",
        "answer_column": "the FILE's column with the answers, or with solutions that end in #### "
        "ANSWER or \\boxed{ANSWER} (default: answer, ground_truth or solution)",
        "strategies": "JSONL file with a strategy for each problem id; takes the place of the "
        "strategies that the problems bring along",
        "chat_template_kwargs": "settings of the student's chat template as a JSON object, such as "
        '{"enable_thinking": false}; a student is saved with its own',
        "only_with_strategies": "train on the problems that have a strategy, by any method; "
        "off: one that has none is refused where the method needs it",
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
    "optimizer and memory": {
        "learning_rate": "AdamW's learning rate",
        "weight_decay": "AdamW's weight decay",
        "max_grad_norm": "a gradient with a larger norm is scaled down to this one",
        "micro_batch_tokens": "tokens in one backward pass: fewer need less memory; 0: all at once",
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
METAVARS = {"data": "NAME|FILE", "strategies": "FILE", "out": "FOLDER", "seeds": "N|N-N"}
METAVARS |= {"question_column": "NAME", "answer_column": "NAME"}
METAVARS |= {"report": "FOLDER", "inspect": "FILE", "measure": "STUDENT", "teacher": "URL|NAME"}
METAVARS |= {
    "chat_template_kwargs": "JSON",
    "learning_rate": "X",
    "methods": "A,B",
    "temperature": "X",
    "timeout": "SECONDS",
}
MAX_NEW_TOKENS = 256  # of `evaluate`, where the data has no settings of its own


def add_option(parser, name: str, default, about: str, read: Callable = str) -> None:
    """Add an option that takes a value; its default is told where there is one."""
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
    """A default in words."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


# Readers of one option's text.


def whole(least: int | None = None) -> Callable[[str], int]:
    """Reads a whole number."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or (least is not None and value < least):
            limit = "" if least is None else f" of at least {least}"
            raise argparse.ArgumentTypeError(f"must be a whole number{limit}, not {text!r}")
        return value

    return read


def number(least: float | None = None, above: float | None = None) -> Callable[[str], float]:
    """Reads a finite number."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        low = (least is not None and value < least) or (above is not None and value <= above)
        if low or not math.isfinite(value):
            limit = "" if least is None else f" of at least {least}"
            limit += "" if above is None else f" above {above}"
            raise argparse.ArgumentTypeError(f"must be a finite number{limit}, not {text!r}")
        return value

    return read


def json_object(text: str) -> dict:
    """Reads a JSON object."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        told = f"""must be a JSON object such as '{{"enable_thinking": false}}', not {text!r}"""
        raise argparse.ArgumentTypeError(told)
    return value


def number_or_none(text: str) -> float | None:
    """Reads a number, or "none"."""
    if text.lower() == "none":
        return None
    try:
        return float(text)  # Config.check knows what is possible
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or none, not {text!r}") from None

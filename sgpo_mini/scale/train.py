"""`accelerate launch -m sgpo_mini.scale.train`: SGPO on one GPU, several, or many machines.

The options are those of `python -m sgpo_mini train` where they mean the same; everything else that
TRL can do is set by --trl NAME=VALUE. A refusal is one sentence and exit status 2.
"""

import argparse
import json
import os
import sys
from dataclasses import Field, fields
from pathlib import Path

from ..commands.options import (
    add_settings,
    quiet_loading,
    set_threads,
    show,
    training_problems,
    whole,
)
from ..config import Config
from ..strategies import having_strategies, require_strategies
from . import MISSING

PROGRAM = "accelerate launch -m sgpo_mini.scale.train"
# Our settings that TRL has too, by their names there.
_RENAMED = {
    "autonomous_rollouts": "num_generations",
    "max_new_tokens": "max_completion_length",
    "clip_low": "epsilon",
    "clip_high": "epsilon_high",
    "updates_per_batch": "num_iterations",
    "out": "output_dir",
}
_SAME = "guided_rollouts temperature delta select_target normalize_target reverse_kl fixed_alpha "
_SAME += "alpha0 gamma alpha_max learning_rate weight_decay max_grad_norm gradient_checkpointing "
_SAME += "seed"
_OTHERS = "student data split calculations strategies only_with_strategies steps "
_OTHERS += "problems_per_step lora_rank checkpoint_every threads resume"
OPTIONS = {*_RENAMED, *_SAME.split(), *_OTHERS.split()}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit status."""
    try:
        import trl  # noqa: F401
    except ModuleNotFoundError:
        return _refuse(MISSING)
    try:
        options = _parser().parse_args(arguments)
        given = {name: value for name, value in vars(options).items() if name in OPTIONS}
        train(_config(given), options.micro_batch, _pairs(options.trl))
    except (OSError, RuntimeError, ValueError) as error:
        return _refuse(str(error))
    return 0


def train(config: Config, micro_batch: int, trl_settings: dict) -> None:
    """Train as our configuration says, with what else is set for TRL; the run is in `out`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from ..student import TINY_STUDENT, Student
    from ..support.checks import refuse_unknown_words
    from . import SGPOConfig, SGPOTrainer, to_dataset

    quiet_loading()
    if config.threads:  # else as many as the launcher gives each process
        set_threads(config.threads)
    problems = training_problems(config.data, config.split, config.strategies, vars(config))
    if config.only_with_strategies:
        problems = having_strategies(problems)
    require_strategies(problems, ", or train on the others alone (--only-with-strategies)")
    if len(problems) < config.problems_per_step:
        raise ValueError(
            f"there are {len(problems)} problems, fewer than the {config.problems_per_step} of a "
            "step (--problems-per-step)"
        )
    name = str(TINY_STUDENT) if config.student == "tiny" else config.student
    if (Path(name) / "adapter_config.json").is_file():
        raise ValueError(
            f"{name} holds a LoRA adapter: merge it into its base first, or train the base with "
            "--lora-rank"
        )
    checkpoint = _checkpoint(Path(config.out), config.resume)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, padding_side="left", trust_remote_code=False
        )
        with torch.device("meta"):  # its shapes alone
            model = AutoModelForCausalLM.from_config(
                AutoConfig.from_pretrained(name, trust_remote_code=False)
            )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"no student can be loaded from {config.student!r} ({reason})") from None
    texts = [text for problem in problems for text in (problem.question, problem.strategy)]
    refuse_unknown_words(Student(model, tokenizer, (), 0, True), texts)
    settings = _settings(config, micro_batch) | trl_settings
    trainer = SGPOTrainer(
        name,
        args=SGPOConfig(**settings),
        train_dataset=to_dataset(problems),
        processing_class=tokenizer,
        peft_config=_lora(config.lora_rank),
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model(str(Path(config.out) / "student"))
    if trainer.accelerator.is_main_process:
        print(f"trained student: {Path(config.out) / 'student'}")
    # Leave the process group: gloo's threads may abort a process that ends within it
    # (https://github.com/pytorch/pytorch/issues/190489).
    trainer.accelerator.end_training()


def _settings(config: Config, micro_batch: int) -> dict:
    """The arguments of `SGPOConfig`: our names and TRL's, and how a step is cut into batches."""
    import torch

    from ..student import compute_dtype

    gpu = torch.cuda.is_available()
    dtype = compute_dtype("cuda" if gpu else "cpu")
    processes = int(os.environ.get("WORLD_SIZE", 1))
    rows = config.problems_per_step * config.autonomous_rollouts
    if rows % processes or (micro_batch and rows // processes % micro_batch):
        raise ValueError(
            f"a step has {config.problems_per_step} problems with {config.autonomous_rollouts} "
            f"autonomous rollouts, {rows} rows, which cannot be cut into equal micro-batches on "
            f"{processes} processes: --micro-batch must divide {rows}/{processes}"
        )
    here = rows // processes
    size = micro_batch or here
    return {
        **{name: getattr(config, name) for name in _SAME.split()},
        **{theirs: getattr(config, ours) for ours, theirs in _RENAMED.items()},
        "max_steps": config.steps * config.updates_per_batch,
        "save_steps": config.checkpoint_every * config.updates_per_batch,
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": here // size,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": not gpu,
        # Never a pickle; a frozen base is held in the type that it is computed in.
        "model_init_kwargs": {
            "use_safetensors": True,
            "dtype": str(dtype if config.lora_rank else torch.float32).removeprefix("torch."),
        },
        "bf16": dtype == torch.bfloat16,
        "fp16": dtype == torch.float16,
    }


def _lora(rank: int):
    """The adapters that `load_student` would add."""
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _checkpoint(out: Path, resume: bool) -> str | None:
    """The newest whole checkpoint of a run; ValueError where there is one, or none, unasked."""
    whole = [folder for folder in out.glob("checkpoint-*") if (folder / _LAST_WRITTEN).is_file()]
    if not resume:
        if whole:
            raise ValueError(f"{out} holds a run: continue it (--resume) or give another --out")
        return None
    if not whole:
        raise ValueError(f"{out} holds no checkpoint to go on from: leave --resume out")
    return str(max(whole, key=lambda folder: int(folder.name.split("-")[1])))


_LAST_WRITTEN = "trainer_state.json"


def _config(given: dict) -> Config:
    from ..mini_gsm.pretraining import settings_for

    data, split = given.get("data", Config.data), given.get("split", Config.split)
    config = Config(**settings_for(data, "sgpo", split=split) | given)
    config.out = config.out or f"runs/scale-{config.seed}"
    config.check()
    return config


def _pairs(texts: list[str]) -> dict:
    """{NAME: VALUE} of --trl NAME=VALUE; a value is read as JSON where it is that."""
    from . import SGPOConfig

    known = {field.name for field in fields(SGPOConfig)}
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise ValueError(f"--trl {text}: must be NAME=VALUE with a setting of SGPOConfig")
        try:
            pairs[name] = json.loads(value)
        except json.JSONDecodeError:
            pairs[name] = value
    return pairs


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description=__doc__.splitlines()[0], allow_abbrev=False)
    add_settings(parser, OPTIONS, _told_default)
    group = parser.add_argument_group("several GPUs, and TRL")
    group.add_argument(
        "--micro-batch",
        metavar="N",
        type=whole(0),
        default=0,
        help="completions in one backward pass on one GPU; 0: all of a step at once",
    )
    group.add_argument(
        "--trl",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="any other setting of SGPOConfig, such as use_vllm=true or report_to=wandb; as often "
        "as needed",
    )
    return parser


def _told_default(field: Field) -> str:
    return "" if field.default == "" else f" (default {show(field.default)})"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        self.exit(_refuse(f"{message} (see --help)"))


def _refuse(message: str) -> int:
    if os.environ.get("RANK", "0") == "0":  # once, not by every process
        print(f"sgpo_mini.scale: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""The command line: `python -m sgpo_mini [train | evaluate | pretrain | strategies | compare]`.

A user error ends with one sentence on standard error and exit status 2; Ctrl-C ends with 130. The
error's class separates user errors from bugs. This package raises OSError, RuntimeError and
ValueError for user errors. Classes that an installed library defines, and the bare Exception of
tokenizers, report a bad file, a network failure or too little memory. Everything else (TypeError,
KeyError, AttributeError, …) is a bug and keeps its traceback. Modules are imported where they are
used, in the commands too, so that `--help` need not wait for torch.
"""

import argparse
import errno
import shlex
import sys
from pathlib import Path

from .commands.compare import add_compare, compare_command
from .commands.evaluate import add_evaluate, evaluate_command
from .commands.options import PROGRAM
from .commands.pretrain import add_pretrain
from .commands.strategies import add_strategies, strategies_command
from .commands.train import add_train
from .support.files import lenient_console
from .support.launchers import refuse_several_processes


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["compare", *arguments]
    options = None
    lenient_console()
    try:
        options, unknown = _parser(arguments[0]).parse_known_args(arguments)
        if unknown:
            told = f"there is no option {shlex.join(unknown)}"
            raise ValueError(f"{told} (see {PROGRAM} {arguments[0]} --help)")
        refuse_several_processes()
        options.run(options)
    except Exception as error:
        if not _is_refusal(error):
            raise
        print(f"sgpo_mini: {_in_one_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nsgpo_mini: {_after_a_stop(arguments, options)}", file=sys.stderr)
        return 130
    return 0


def _is_refusal(error: Exception) -> bool:
    """Whether an error is a user error rather than a bug."""
    if isinstance(error, (OSError, RuntimeError, ValueError, MemoryError)):
        return not isinstance(error, RecursionError)
    home = type(error).__module__.partition(".")[0]
    return type(error) is Exception or home not in {*sys.stdlib_module_names, "sgpo_mini"}


def _in_one_sentence(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            "out of memory: lower --micro-batch-tokens, --batch-size or --problems-per-step, or "
            f"give --gradient-checkpointing ({said})"
        )
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} can't be read or written ({error.strerror})"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return f"a file can't be written ({error.strerror}): free some disk space and try again"
    return said


def _after_a_stop(arguments: list[str], options: argparse.Namespace | None) -> str:
    """What to say after Ctrl-C: the command that continues the run, if something was saved."""
    out = getattr(options, "out", None)
    if out is None or options.run is evaluate_command:
        return "stopped"
    if options.run is strategies_command and options.source != "teacher":
        return "stopped: nothing was saved"
    arguments = list(arguments)
    if not any(word.split("=")[0] == "--out" for word in arguments):
        arguments += ["--out", out]
    if options.run not in (compare_command, strategies_command):  # these resume by themselves
        if not (Path(out) / "config.json").exists():
            return "stopped before the run began: nothing was saved"
        arguments += [] if "--resume" in arguments else ["--resume"]
    return f"stopped; continue with: {PROGRAM} {shlex.join(arguments)}"


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> None:
        """Exit with one sentence, without the usage."""
        self.exit(2, f"sgpo_mini: {message} (see {self.prog} --help)\n")


def _parser(word: str) -> argparse.ArgumentParser:
    """The parser of all commands; the options of `train` are added only if `word` is train."""
    parser = _Parser(
        prog=PROGRAM,
        description="SGPO (Strategy-Guided Policy Optimization, arXiv:2606.24064) on one machine. "
        "Without a command it runs `compare`: it trains the shipped student with GRPO and with "
        "SGPO on the same number of rollouts, evaluates both on every split of mini-gsm, and "
        "writes a report with figures to runs/main.",
        epilog=f"Options of a command: {PROGRAM} COMMAND --help",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    def add(name: str, about: str, more: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            usage=f"{PROGRAM} {name} [options]",
            help=about,
            description=f"{about[0].upper()}{about[1:]}. {more}",
        )

    about = "train a student with one method"
    more = "Where the paper gives a value, it is the default; mini-gsm has its own defaults."
    add_train(add("train", about, more), with_settings=word == "train")
    more = "On mini-gsm without --split: one table of the exams, with what carries over from test."
    add_evaluate(add("evaluate", "measure accuracy, guided and unguided (avg@k, pass@k)", more))
    add_pretrain(add("pretrain", "pretrain a tiny student, or warm up a model by SFT"))
    about = "make strategies, inspect them, or measure whether they help a student"
    more = (
        "A strategy names the type of a problem, an approach and its steps, without the problem's "
        "numbers. Strategies are kept in a JSONL file (id, problem_type, approach, steps), which "
        "you can also write or edit by hand, and which train reads with --strategies FILE. Give "
        "one of --source, --inspect and --measure."
    )
    add_strategies(add("strategies", about, more))
    about = "compare GRPO and SGPO over seeds (the default command)"
    more = "With --methods: any baselines, ablations and controls, each compared to grpo. With "
    more += "--export: mini-gsm's problems as files, for other programs."
    add_compare(add("compare", about, more))
    return parser


if __name__ == "__main__":
    sys.exit(main())

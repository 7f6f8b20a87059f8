"""The command line: `python -m sgpo_mini [train | evaluate | pretrain | strategies | compare]`.

A refusal is one sentence on standard error and exit status 2; Ctrl-C exits with 130. What is a
refusal and what a bug goes by the error's class. OSError, RuntimeError and ValueError are what this
package refuses with. A class that an installed library defines, and the bare Exception of
tokenizers, are a library's refusal of a user's file, of the network or of the memory. All else
(TypeError, KeyError, AttributeError, …) is a bug and keeps its traceback. Modules are imported
where they are used, in the commands too, so that `--help` need not wait for torch.
"""

import argparse
import errno
import shlex
import sys
from pathlib import Path

from .commands.evaluate import add_evaluate, evaluate_command
from .commands.options import PROGRAM, add_option, whole
from .commands.pretrain import add_pretrain
from .commands.strategies import add_strategies, strategies_command
from .commands.train import add_train
from .support.files import lenient_console
from .support.launchers import refuse_several_processes


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["compare", *arguments]  # the main job
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
    """Whether an error is for the user: raised on purpose, by this package or by a library."""
    if isinstance(error, (OSError, RuntimeError, ValueError, MemoryError)):
        return not isinstance(error, RecursionError)
    home = type(error).__module__.partition(".")[0]
    return type(error) is Exception or home not in {*sys.stdlib_module_names, "sgpo_mini"}


def _in_one_sentence(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            "there is not enough memory: take fewer at a time (--micro-batch-tokens, --batch-size, "
            f"--problems-per-step), or --gradient-checkpointing ({said})"
        )
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} can't be read or written ({error.strerror})"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return f"a file can't be written ({error.strerror}): make room, then try again"
    return said


def _after_a_stop(arguments: list[str], options: argparse.Namespace | None) -> str:
    """What to say after Ctrl-C: the command that goes on, where something was saved."""
    out = getattr(options, "out", None)
    if out is None or options.run is evaluate_command:
        return "stopped"
    if options.run is strategies_command and options.source != "teacher":
        return "stopped: nothing is saved"
    arguments = list(arguments)
    if not any(word.split("=")[0] == "--out" for word in arguments):
        arguments += ["--out", out]
    if options.run not in (_main_job, strategies_command):  # the same command goes on with those
        if not (Path(out) / "config.json").exists():
            return "stopped before the run began: nothing is saved"
        arguments += [] if "--resume" in arguments else ["--resume"]
    return f"stopped; go on with: {PROGRAM} {shlex.join(arguments)}"


def _main_job(options: argparse.Namespace) -> None:
    """GRPO and SGPO side by side; with --methods the rows of the whole comparison."""
    from .study.main_job import run_and_report
    from .study.report import report_comparison, run_comparison

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


def _rows(text: str) -> list[str]:
    """The rows that --methods names; `all` is every one."""
    from .study.rows import ROWS

    return list(ROWS) if text == "all" else [name.strip() for name in text.split(",")]


def _seeds(text: str) -> list[int]:
    first, dash, last = text.partition("-")
    try:
        seeds = list(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        seeds = []
    if not seeds:
        raise ValueError(f"seeds must be a number or a range such as 0-4, not {text!r}")
    return seeds


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

    add_train(
        add("train", "one run of one method, with every setting", "The defaults are the paper's."),
        with_settings=word == "train",
    )
    add_evaluate(
        add("evaluate", "how often a student is right, guided and unguided: avg@k and pass@k")
    )
    add_pretrain(add("pretrain", "make the tiny student anew, or warm a model up on solutions"))
    add_strategies(
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


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_main_job)
    add_option(
        parser, "student", "tiny", "tiny (the shipped one), or a folder that `pretrain` made"
    )
    rows = (
        "rows of the whole comparison, such as sgpo,luffy,shuffled, or all (rows.py lists them); "
    )
    add_option(parser, "methods", "", rows + "left out: grpo and sgpo, the main job")
    add_option(parser, "seeds", "0", "a number or a range such as 0-4")
    add_option(parser, "steps", None, "training steps of every run (default 200)", whole(1))
    add_option(parser, "out", "runs/main", "folder of the runs; the same command goes on with them")
    told = "only: write again what the packed runs of such a FOLDER say"
    add_option(parser, "report", "", told)


if __name__ == "__main__":
    sys.exit(main())

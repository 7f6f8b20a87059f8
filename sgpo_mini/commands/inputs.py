"""What a command works on: the problems and the student that its options name.

Modules are imported where they are used, so that `--help` need not wait for torch.
"""

from collections.abc import Mapping

from .options import flag

COLUMNS = ("question_column", "answer_column")


def problems_of(
    data: str,
    split: str,
    strategies: str,
    columns: Mapping[str, str | None] | None = None,
    latex: bool | None = None,
) -> list:
    """The problems that --data names, with the strategies of the file that --strategies names.

    `columns` are the COLUMNS among a command's options, for a file. Raises ValueError where one of
    the names leads nowhere.
    """
    from ..benchmarks import BENCHMARKS, load_benchmark
    from ..mini_gsm.world import make_problems
    from ..problems import load_gsm8k, load_problems
    from ..strategies import load_strategies, with_strategies
    from ..support.latex import reads_as_latex
    from ..support.records import FILE_ENDINGS

    named = {name: columns[name] for name in COLUMNS if columns and columns.get(name)}
    if named and not is_file(data):
        raise ValueError(f"{data} has no {', '.join(map(flag, named))}: they are for a FILE")
    benchmarks = BENCHMARKS if split == "test" else {}  # to evaluate on, not to train on
    if data == "mini-gsm":
        problems = list(make_problems(split))
    elif data == "gsm8k":
        problems = load_gsm8k(split)
    elif data in benchmarks:
        problems = load_benchmark(data)
    elif is_file(data):
        problems = load_problems(data, reads_as_latex if latex else None, **named)
    else:
        names = ", ".join(["mini-gsm", "gsm8k", *benchmarks])
        endings = " or ".join([", ".join(FILE_ENDINGS[:-1]), FILE_ENDINGS[-1]])
        raise ValueError(f"data must be {names} or a file that ends in {endings}, not {data!r}")
    return with_strategies(problems, load_strategies(strategies)) if strategies else problems


def is_file(data: str) -> bool:
    """Whether --data names a file of one's own."""
    from ..support.records import FILE_ENDINGS

    return data.lower().endswith(FILE_ENDINGS)


def student_of(name: str, **settings):
    """The student that --student names, loaded with settings; ValueError where there is none."""
    from ..student import load_student

    quiet_loading()
    return load_student(name, **settings)


def quiet_loading() -> None:
    """No bar for the reading of weights: that takes seconds at most."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def set_threads(threads: int) -> None:
    """Use so many CPU threads; 0: as many as torch chooses."""
    if threads:
        import torch

        torch.set_num_threads(threads)

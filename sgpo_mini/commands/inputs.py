"""What a command works on: the problems and the student that its options name.

Modules are imported where they are used, so that `--help` need not wait for torch.
"""


def problems_of(data: str, split: str, strategies: str, latex: bool | None = None) -> list:
    """The problems that --data names, with the strategies of the file that --strategies names.

    Raises ValueError where one of the names leads nowhere.
    """
    from ..benchmarks import BENCHMARKS, load_benchmark
    from ..latex import reads_as_latex
    from ..mini_gsm.world import make_problems
    from ..problems import load_gsm8k, load_problems
    from ..strategies import load_strategies, with_strategies

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

"""Competition mathematics benchmarks from the Hub, by name, for evaluation only."""

from dataclasses import dataclass

from .problems import Problem, Reward, numeric_reward
from .support.answers import gold_answer
from .support.latex import latex_reward, reads_as_latex

INSTEAD = "give its problems as a file with question and answer (--data FILE)"


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's repository on the Hub, and whether its answers are LaTeX or numbers."""

    repository: str
    split: str
    latex: bool

    @property
    def reward(self) -> Reward:
        return latex_reward if self.latex else numeric_reward


# Uploads differ and may change, so load_benchmark names any field that is missing.
BENCHMARKS = {
    "math500": Benchmark("HuggingFaceH4/MATH-500", "test", latex=True),
    "amc23": Benchmark("math-ai/amc23", "test", latex=False),
    "aime24": Benchmark("HuggingFaceH4/aime_2024", "train", latex=False),
}


def load_benchmark(name: str) -> list[Problem]:
    """The problems of math500 (MATH-500), amc23 (40 of AMC 2023) or aime24 (30 of AIME 2024).

    Raises ValueError for any other name, if the Hub can't be reached, if a row lacks a question or
    a readable answer, and if LaTeX answers need a package that is missing.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"there is no benchmark {name!r}; choose one of {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[name]
    if benchmark.latex:
        reads_as_latex("1")  # report a missing package before the download
    problems = []
    for number, row in enumerate(_rows(benchmark), start=1):
        where = f"{benchmark.repository} ({benchmark.split}), row {number}"
        question = _field(row, ("problem", "question"), where)
        answer = _field(row, ("answer",), where)
        # What the reward will read: a canonical number, or LaTeX as written.
        gold = gold_answer(answer) if not benchmark.latex else reads_as_latex(answer) and answer
        if not gold:
            raise ValueError(f"{where}: 'answer' is {answer[:80]!r}, which can't be read")
        solution = str(row.get("solution") or "")
        problems.append(Problem(f"{name}-{number:03d}", question, gold, solution))
    if not problems:
        raise ValueError(f"{benchmark.repository} ({benchmark.split}) has no rows; {INSTEAD}")
    return problems


def _field(row: dict, names: tuple[str, ...], where: str) -> str:
    """The text of the first field of `names` that has one; ValueError if none has."""
    for name in names:
        value = row.get(name)
        if type(value) in (int, float):  # some uploads have 27 or 27.0, others "027"
            value = str(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
    told = " or ".join(map(repr, names))
    fields = ", ".join(row)
    raise ValueError(f"{where} has no text or number in {told} (fields: {fields}); {INSTEAD}")


def _rows(benchmark: Benchmark) -> list[dict]:
    try:
        import datasets

        return list(datasets.load_dataset(benchmark.repository, split=benchmark.split))
    except Exception as error:  # no package, no network, or one of the Hub's many errors
        raise ValueError(
            f"{benchmark.repository} ({benchmark.split}) can't be loaded from the Hub "
            f"({type(error).__name__}); {INSTEAD}"
        ) from error

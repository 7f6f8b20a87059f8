"""The paper's claims, and whether the comparison on mini-GSM reproduces them.

    python -m sgpo_mini.study.claims [FOLDER]

reads `comparison.json` and the packed runs that `python -m sgpo_mini compare --methods
all` wrote to FOLDER (default: the committed ones), and prints a table in Markdown. The paper's
numbers come from SGPO (arXiv:2606.24064): averages over four benchmarks, for Qwen2.5-7B unless the
table says otherwise.
"""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..support.files import lenient_console, read_json
from ..support.intervals import confidence_interval
from .packed_runs import MEND, read_packed

RESULTS = Path(__file__).parents[1] / "results" / "comparison" / "student-0"
KL_BY_TOKEN = (
    Path(__file__).parents[1] / "results" / "kl-by-token.json"
)  # from tests/benchmarks/kl_by_token.py
SPLIT = "test"  # unguided
ENDS = 10  # steps averaged at the start and at the end of a run
LITTLE = 0.05  # "little or nothing": the whole interval is below this accuracy

Values = list[float]  # one per seed


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the measurement that tests it here.

    `values` gives one number per seed; `expected` says where their mean should be: "above" or
    "below" 0, or at most "little" above 0. A claim without `values` can't be tested here;
    `counterpart` says why.
    """

    said: str
    paper: str
    counterpart: str
    expected: str = ""
    values: Callable[["Measured"], Values] | None = None
    points: bool = True  # percentage points; False: the unit of the quantity


class TooShort(ValueError):
    """The runs are shorter than the steps that a claim is about."""


class Measured:
    """The results of a comparison, from its folder; ValueError if they are missing."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        path = self.folder / "comparison.json"
        if not path.is_file():
            raise ValueError(
                f"{path} is missing: run `python -m sgpo_mini compare --methods all --out FOLDER`"
            )
        found = read_json(path, MEND)
        self.seeds, self.rows = found["seeds"], found["rows"]
        self.base = found["base"]["greedy"][SPLIT][0]

    def accuracy(self, name: str) -> Values:
        """Unguided accuracy of a method on `test`, one number per seed."""
        if name not in self.rows:
            raise ValueError(
                f"{self.folder} holds no runs of {name!r}: run `python -m sgpo_mini compare "
                "--methods all --out FOLDER`"
            )
        return self.rows[name]["greedy"][SPLIT]

    def minus(self, name: str, other: str) -> Values:
        """Accuracy of one method minus another's, per seed; "base" is the untrained student."""
        second = [self.base] * len(self.accuracy(name)) if other == "base" else self.accuracy(other)
        return [a - b for a, b in zip(self.accuracy(name), second, strict=True)]

    def logged(self, name: str, field: str, part: slice) -> Values:
        """The mean of a logged quantity over some steps, one number per seed.

        Raises TooShort if a run does not have these steps.
        """
        means = []
        for seed in self.seeds:
            numbers = [row[field] for row in read_packed(self.folder, f"{name}-{seed}").metrics]
            if len(numbers) < max(abs(end) for end in (part.start, part.stop) if end):
                raise TooShort(f"{name}-{seed} has only {len(numbers)} steps")
            means.append(sum(numbers[part]) / len(numbers[part]))
        return means


def _gain(name: str, other: str) -> Callable[[Measured], Values]:
    return lambda measured: measured.minus(name, other)


def _change(name: str, field: str, begin: slice, end: slice) -> Callable[[Measured], Values]:
    """The change of a logged quantity from some steps to later ones."""

    def values(measured: Measured) -> Values:
        before, after = (measured.logged(name, field, part) for part in (begin, end))
        return [b - a for a, b in zip(before, after, strict=True)]

    return values


def _at_the_end(name: str, other: str, field: str) -> Callable[[Measured], Values]:
    def values(measured: Measured) -> Values:
        first, second = (measured.logged(n, field, LAST) for n in (name, other))
        return [a - b for a, b in zip(first, second, strict=True)]

    return values


def _share_of_few_tokens(measured: Measured) -> Values:
    """The share of each target's KL on its 10 % of tokens with the largest KL, minus one half."""
    return [share - 0.5 for share in json.loads(KL_BY_TOKEN.read_bytes())["share"]]


FIRST, BEFORE_LAST, LAST = slice(0, ENDS), slice(-2 * ENDS, -ENDS), slice(-ENDS, None)

CLAIMS = [
    Claim("SGPO beats SFT+GRPO: distilling the strategy helps", "+2.2 (1.5B: +3.0)",
          "`sgpo` − `grpo`", "above", _gain("sgpo", "grpo")),
    Claim("SGPO beats LUFFY", "1.5B: +1.4",
          "`sgpo` − `luffy`", "above", _gain("sgpo", "luffy")),
    Claim("the same where LUFFY is given the student's own form", "—",
          "`sgpo` − `luffy-own-form`", "above", _gain("sgpo", "luffy-own-form")),
    Claim("SGPO beats HPT", "1.5B: +1.7", "`sgpo` − `hpt`", "above", _gain("sgpo", "hpt")),
    Claim("the same where HPT is given the student's own form", "—",
          "`sgpo` − `hpt-own-form`", "above", _gain("sgpo", "hpt-own-form")),
    Claim("SGPO beats SFT", "+9.4 (1.5B: +7.7)", "`sgpo` − `sft`", "above", _gain("sgpo", "sft")),
    Claim("the same where SFT is given the student's own form", "—",
          "`sgpo` − `sft-own-form`", "above", _gain("sgpo", "sft-own-form")),
    Claim("SFT on a strong model's solutions gains little or nothing", "+0.5 (1.5B: −1.0)",
          "`sft` − base student", "little", _gain("sft", "base")),
    Claim("without autonomous GRPO it is worse", "−3.5",
          "`no-grpo` − `sgpo`", "below", _gain("no-grpo", "sgpo")),
    Claim("without autonomous GRPO the reward plateaus", "a curve",
          f"p_auto of `no-grpo`, last {ENDS} steps − the {ENDS} before", "little",
          _change("no-grpo", "p_auto", BEFORE_LAST, LAST)),
    Claim("without KL clipping it is worse", "−3.4",
          "`no-clipping` − `sgpo`", "below", _gain("no-clipping", "sgpo")),
    Claim("without target selection it is worse", "−4.0",
          "`no-selection` − `sgpo`", "below", _gain("no-selection", "sgpo")),
    Claim("without the adaptive weight it is worse", "−1.2",
          "`fixed-alpha` − `sgpo`", "below", _gain("fixed-alpha", "sgpo")),
    Claim("without all three constraints it is much worse", "−6.8",
          "`no-constraints` − `sgpo`", "below", _gain("no-constraints", "sgpo")),
    Claim("without all three constraints entropy collapses", "a curve",
          f"entropy, last {ENDS} steps: `no-constraints` − `sgpo`, nats a token", "below",
          _at_the_end("no-constraints", "sgpo", "entropy"), points=False),
    Claim("reverse KL is worse", "−1.2",
          "`reverse-kl` − `sgpo`", "below", _gain("reverse-kl", "sgpo")),
    Claim("SFT on the same guided trajectories is worse than their KL", "−2.8",
          "`sft-on-target` − `sgpo`", "below", _gain("sft-on-target", "sgpo")),
    Claim("α starts high and decays as the student improves", "a curve",
          f"mean α of `sgpo`, last {ENDS} steps − first {ENDS}", "below",
          _change("sgpo", "alpha", FIRST, LAST), points=False),
    Claim("the KL is large on the few tokens where an approach is chosen", "a figure",
          "share of a target's KL on its largest tenth of tokens − one half (over targets of the "
          "student before training, `tests/benchmarks/kl_by_token.py`)", "above",
          _share_of_few_tokens),
    Claim("gains grow with the strength of the base model", "7B and 8B against 1.5B",
          "one small student only"),
    Claim("extracted strategies are mostly of high or medium quality", "39.4 % high, 54.4 % medium",
          "no strong model here; the world's strategies are true"),
]  # fmt: skip


def paper_gaps() -> dict[str, float]:
    """The paper's accuracy of each row minus SGPO's, in percentage points, from the claims.

    Qwen2.5-7B's number, or the 1.5B model's where the claim gives no other.
    """
    gaps = {}
    for claim in CLAIMS:
        pair = re.findall(r"`([\w-]+)`", claim.counterpart)  # "`row` − `other`"
        number = re.search(r"[+−]\d+\.\d", claim.paper)
        if number and len(pair) == 2 and "sgpo" in pair:
            gap = float(number[0].replace("−", "-"))
            row, sign = (pair[0], 1) if pair[1] == "sgpo" else (pair[1], -1)
            gaps[row] = sign * gap
    return gaps


def verdict(claim: Claim, interval: tuple[float, float]) -> str:
    """The verdict on a claim: reproduced if the whole interval lies where the claim says."""
    low, high = interval
    if {"above": low > 0, "below": high < 0, "little": high < LITTLE}[claim.expected]:
        return "reproduced"
    opposite = {"above": high < 0, "below": low > 0, "little": low > 0}[claim.expected]
    return "not reproduced: the opposite" if opposite else "not reproduced: undecided"


def claims_table(folder: str | Path = RESULTS) -> str:
    """The claims in Markdown, each with the paper's number and ours (95 % t interval over seeds).

    Raises ValueError if the folder lacks a row that a claim is about, or has only one seed.
    """
    measured = Measured(folder)
    seeds = ", ".join(map(str, measured.seeds))
    lines = [f"| the paper's claim | its number | here, on `{SPLIT}`, seeds {seeds} | measured | |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for claim in CLAIMS:
        cells = [claim.said, claim.paper, claim.counterpart, *_measured(claim, measured)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _measured(claim: Claim, measured: Measured) -> tuple[str, str]:
    """(our number with its interval, the verdict)."""
    if claim.values is None:
        return "—", "can't be tested here"
    try:
        values = claim.values(measured)
    except TooShort as error:
        return "—", f"can't be tested: {error}"
    mean, (low, high) = sum(values) / len(values), confidence_interval(values, over="seeds")
    scale, digits = (100, 1) if claim.points else (1, 3)
    told = f"{scale * low:+.{digits}f} to {scale * high:+.{digits}f}"
    told = "all equal" if high - low < 1e-9 else told
    return f"{scale * mean:+.{digits}f} ({told})", verdict(claim, (low, high))


if __name__ == "__main__":
    lenient_console()  # the table has characters that some consoles can't print
    try:
        print(claims_table(*sys.argv[1:2]))
    except ValueError as error:
        sys.exit(str(error))

"""Every notebook's solution passes its check, its stub does not, and wrong answers are caught."""

import json
import math
import re
import sys
from pathlib import Path

import pytest
import torch

from sgpo_mini import exercises

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CHECKS = {name: value for name, value in vars(exercises).items() if name.startswith("check_")}
SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)
CALL = re.compile(r"^(?:\w+ = )?(check_\w+)\((\w+)\)", re.MULTILINE)


def cells_of(notebook):
    cells = json.loads((NOTEBOOKS / notebook).read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"]), cell) for cell in cells]


def found_exercises():
    """(notebook, check, name of the function, stub, its cell's stored output, solution)."""
    found = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        exercise = None
        for kind, source, cell in cells_of(path.name):
            if kind == "markdown":
                for solution in SOLUTION.findall(source):
                    assert exercise, f"{path.name}: a solution without an exercise above it"
                    found.append((path.name, *exercise, solution))
                    exercise = None
            elif call := CALL.search(source):
                assert exercise is None, f"{path.name}: {exercise[0]} has no solution below it"
                stored = [text for output in cell["outputs"] for text in output.get("text", ())]
                exercise = (call[1], call[2], source[: call.start()], "".join(stored))
        assert exercise is None, f"{path.name}: {exercise[0]} has no solution below it"
    return found


EXERCISES = found_exercises()
each_exercise = pytest.mark.parametrize(
    ("notebook", "check", "name", "stub", "stored", "solution"),
    EXERCISES,
    ids=[f"{notebook}-{check}" for notebook, check, *_ in EXERCISES],
)


def function_of(code, name):
    namespace = {"torch": torch}
    exec(code, namespace)
    return namespace[name]


def run_check(capsys, check, function):
    """(what the check returns, the line it prints): a bool and one line, whatever happens."""
    solved = CHECKS[check](function)
    printed = capsys.readouterr().out
    assert isinstance(solved, bool)
    assert printed.endswith("\n") and printed.count("\n") == 1
    assert printed.startswith("right: ") == solved
    return solved, printed


@each_exercise
def test_solution_passes(capsys, notebook, check, name, stub, stored, solution):
    solved, line = run_check(capsys, check, function_of(solution, name))
    assert solved, line


@each_exercise
def test_stub_is_unsolved_and_its_line_is_stored(
    capsys, notebook, check, name, stub, stored, solution
):
    solved, line = run_check(capsys, check, function_of(stub, name))
    assert not solved and line.startswith("not solved yet: ")
    assert stored == line
    # The same parameters: a reader who fills in the stub can write what the solution writes.
    first = [re.search(rf"def {name}\((.*?)\)", code)[1] for code in (stub, solution)]
    assert first[0] == first[1]


def test_every_notebook_has_two_exercises_and_every_check_is_used():
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        assert sum(notebook == path.name for notebook, *_ in EXERCISES) == 2, path.name
    assert {check for _, check, *_ in EXERCISES} == set(CHECKS) == set(WRONG)


def weight(p_auto, p_guide, alpha0=0.5, gamma=0.1, alpha_max=0.8):
    return min(max(alpha0 * (p_guide - p_auto + gamma) / (p_auto + gamma), 0.0), alpha_max)


def harmful(kl, mask, delta):
    kl.zero_()
    mask.zero_()
    return mask.bool()


def kept(kl, mask, delta):
    return mask.bool() if delta is None else mask.bool() & (kl <= delta)


def signal(p, size):
    return 1 - p**size - (1 - p) ** size


def smallest(function, share):
    return next(size for size in range(1, 1000) if function(size) >= share)


def group_size(p, share):
    return smallest(lambda size: signal(p, size), share)


def clipped(ratio, advantage, clip_low=0.2, clip_high=0.28):
    gone = ratio > 1 + clip_high if advantage > 0 else ratio < 1 - clip_low
    return 0.0 if gone else -advantage * ratio


# Wrong answers, and a piece of what the check must say of each.
WRONG = {
    "check_adaptive_weight": {
        "no upper bound": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                           max(alpha0 * (g - a + gamma) / (a + gamma), 0), "α_max"),
        "no lower bound": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                           min(alpha0 * (g - a + gamma) / (a + gamma), alpha_max), "never below"),
        "no gamma below the line": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                                    min(max(alpha0 * (g - a + gamma) / a, 0), alpha_max), "γ"),
        "no gamma above the line": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                                    min(max(alpha0 * (g - a) / (a + gamma), 0), alpha_max), "γ"),
        "the two shares swapped": (lambda a, g, **rest: weight(g, a, **rest), "formula"),
        "a plus sign": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                        min(alpha0 * (g + a + gamma) / (a + gamma), alpha_max), "formula"),
        "no alpha0": (lambda a, g, **rest: weight(a, g, **rest | {"alpha0": 1.0}), "formula"),
        "fixed constants": (lambda a, g, **rest: weight(a, g), "arguments"),
        "a fixed bound": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                          weight(a, g, alpha0, gamma), "arguments"),
        "two arguments only": (lambda a, g: weight(a, g), "TypeError"),
        "a share of its own": (lambda a, g, **rest: 0.5, "not 0.2917"),
        "a tensor of two": (lambda *shares, **rest: torch.ones(2), "no number"),
        "not a number": (lambda *shares, **rest: float("nan"), "nan"),
        "a text": (lambda *shares, **rest: "0.2916667", "no number"),
    },
    "check_kept_tokens": {
        "strictly below": (lambda kl, mask, delta:
                           mask.bool() if delta is None else mask.bool() & (kl < delta), "exactly"),
        "the other side": (lambda kl, mask, delta: mask.bool() & (kl > (delta or 0)), "delta"),
        "padding too": (lambda kl, mask, delta:
                        kl <= (torch.inf if delta is None else delta), "padding"),
        "no delta": (lambda kl, mask, delta: mask.bool(), "above delta"),
        "nothing without delta": (lambda kl, mask, delta:
                                  mask.bool() & (kl <= (delta or 0)), "every token"),
        "no None": (lambda kl, mask, delta: mask.bool() & (kl <= delta), "TypeError"),
        "the kept KL": (lambda kl, mask, delta: kl * kept(kl, mask, delta), "True and False"),
        "how many": (lambda kl, mask, delta: kept(kl, mask, delta).sum(dim=1), "shape"),
        "which": (lambda kl, mask, delta: kept(kl, mask, delta).nonzero(), "shape"),
        "the first row": (lambda kl, mask, delta: kept(kl, mask, delta)[0], "shape"),
        "one truth": (lambda kl, mask, delta: True, "shape"),
        "clears what it is given": (harmful, "drops"),
        "a text": (lambda kl, mask, delta: "all of them", "no tensor"),
    },
    "check_group_size": {
        "right tries only": (lambda p, share: smallest(lambda g: 1 - (1 - p) ** g, share),
                             "right tries alone"),
        "right tries only, by logarithm": (lambda p, share:
                                           math.ceil(math.log(1 - share) / math.log(1 - p)),
                                           "right tries alone"),
        "more than": (lambda p, share: smallest(lambda g: signal(p, g), share + 1e-9), "equality"),
        "one try short": (lambda p, share: group_size(p, share) - 1, "round up"),
        "not rounded": (lambda p, share: group_size(p, share) - 0.5, "whole number"),
        "all wrong only": (lambda p, share: smallest(lambda g: 1 - p**g, share), "1 - p^G"),
        "the same size": (lambda p, share: 5, "not 69"),
        "never": (lambda p, share: math.inf, "inf"),
        "not a number": (lambda p, share: math.nan, "nan"),
        "a text": (lambda p, share: str(group_size(p, share)), "no number"),
    },
    "check_clipped_gradient": {
        "no clip": (lambda r, a, clip_low=0.2, clip_high=0.28: -a * r, "far enough"),
        "clipped on both sides": (lambda r, a, clip_low=0.2, clip_high=0.28:
                                  -a * r if 1 - clip_low < r < 1 + clip_high else 0, "coming back"),
        "of the advantage alone": (lambda r, a, **rest: clipped(r, a, **rest) / r, "ratio itself"),
        "the other sign": (lambda r, a, **rest: -clipped(r, a, **rest), "downhill"),
        "clip_low on both sides": (lambda r, a, clip_low=0.2, clip_high=0.28:
                                   clipped(r, a, clip_low, clip_low), "upper end"),
        "clip_high on both sides": (lambda r, a, clip_low=0.2, clip_high=0.28:
                                    clipped(r, a, clip_high, clip_high), "lower end"),
        "fixed constants": (lambda r, a, **rest: clipped(r, a), "arguments"),
        "the clipped ratio": (lambda r, a, clip_low=0.2, clip_high=0.28:
                              -a * min(max(r, 1 - clip_low), 1 + clip_high), "far enough"),
        "whatever the sign": (lambda r, a, clip_low=0.2, clip_high=0.28:
                              -a * r if r < 1 + clip_high else 0, "far enough"),
        "a text": (lambda r, a, **rest: "-1.5", "no number"),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("check", "mistake"), [(check, mistake) for check in WRONG for mistake in WRONG[check]]
)
def test_wrong_answer_is_caught_and_said(capsys, check, mistake):
    function, said = WRONG[check][mistake]
    solved, line = run_check(capsys, check, function)
    assert not solved and line.startswith("not right yet: ") and said in line


class Nasty:
    """An answer that resists every use."""

    def __float__(self):
        raise RuntimeError("no float\nhere")

    def __repr__(self):
        raise ValueError("no repr")

    __eq__ = __bool__ = __len__ = __array__ = __float__
    __hash__ = None


class NastyError(BaseException):
    def __str__(self):
        raise RuntimeError("no text")


def raises(error):
    def function(*arguments, **options):
        raise error

    return function


def endless(*arguments, **options):
    return endless(*arguments, **options)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "function",
    [
        raises(ValueError("two\nlines")),
        raises(ZeroDivisionError()),
        raises(SystemExit(1)),
        raises(NastyError()),
        lambda *arguments, **options: Nasty(),
        lambda *arguments, **options: [[1], [2, 3]],
        lambda *arguments, **options: torch.tensor([[1 + 1j]]),
        lambda *arguments, **options: torch.zeros(0),
        lambda *arguments, **options: "x" * 10_000,
        lambda *arguments, **options: print("a line of the reader's") or 7,
        lambda: 1,
        endless,
        None,
        0.5,
        Nasty(),
        Nasty,
        torch,
    ],
)
def test_check_never_raises(capsys, check, function):
    solved, line = run_check(capsys, check, function)
    assert not solved and len(line) < 300


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "function",
    [
        raises(NotImplementedError()),
        lambda *arguments, **options: None,
        lambda *arguments, **options: ...,
    ],
)
def test_a_stub_is_not_solved_yet(capsys, check, function):
    solved, line = run_check(capsys, check, function)
    assert not solved and line.startswith("not solved yet: ")


@pytest.mark.parametrize("check", CHECKS)
def test_ctrl_c_gets_through(check):
    with pytest.raises(KeyboardInterrupt):
        CHECKS[check](raises(KeyboardInterrupt()))


@pytest.mark.parametrize("convert", [float, torch.tensor, lambda x: torch.tensor([x]).numpy()[0]])
def test_right_weight_in_any_form(capsys, convert):
    solved, line = run_check(
        capsys, "check_adaptive_weight", lambda *shares, **rest: convert(weight(*shares, **rest))
    )
    assert solved, line


@pytest.mark.parametrize("convert", [torch.Tensor.float, torch.Tensor.long, torch.Tensor.tolist])
def test_right_tokens_in_any_form(capsys, convert):
    solved, line = run_check(capsys, "check_kept_tokens", lambda *given: convert(kept(*given)))
    assert solved, line


def test_check_works_where_gradients_are_off(capsys):
    with torch.no_grad():
        assert run_check(capsys, "check_kept_tokens", kept)[0]


def test_output_of_the_check_goes_where_the_reader_looks(capsys):
    stream = sys.stdout
    run_check(capsys, "check_kept_tokens", lambda *given: print("hidden"))
    assert sys.stdout is stream

"""benchmarks.py and latex.py: rows of the Hub as problems, LaTeX answers compared as mathematics.

Neither the Hub nor math-verify is there: both are played by a few lines.
"""

import subprocess
import sys
import threading
import types
from fractions import Fraction

import pytest

from sgpo_mini.__main__ import main
from sgpo_mini.benchmarks import BENCHMARKS, load_benchmark
from sgpo_mini.latex import latex_reward, reads_as_latex
from sgpo_mini.problems import Problem, numeric_reward

MATH_ROW = {"problem": "Half of one?", "answer": r"\frac{1}{2}", "solution": "Easy."}


@pytest.fixture
def hub(monkeypatch):
    """What the Hub holds, by repository; what was asked of it."""
    held, asked = {}, []

    def load_dataset(name, *, split):
        asked.append((name, split))
        return held[name]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return types.SimpleNamespace(held=held, asked=asked)


@pytest.fixture
def math_verify(monkeypatch):
    """Reads \\boxed{} of a number or \\frac; as the real one, no time limit off the main thread."""
    limits = []

    def may_limit(seconds):
        limits.append(seconds)
        if seconds and threading.current_thread() is not threading.main_thread():
            raise ValueError("signal only works in main thread of the main interpreter")

    def parse(text, parsing_timeout=5):
        may_limit(parsing_timeout)
        inside = text.removeprefix(r"\boxed{")[:-1]
        inside = inside.replace(r"\frac{", "").replace("}{", "/").rstrip("}")
        try:
            return [Fraction(inside)]
        except ValueError:
            return []

    def verify(gold, target, timeout_seconds=5):
        may_limit(timeout_seconds)
        return gold == target

    library = types.SimpleNamespace(parse=parse, verify=verify, limits=limits)
    monkeypatch.setitem(sys.modules, "math_verify", library)
    return library


def test_math_500_has_latex_answers(hub, math_verify):
    hub.held["HuggingFaceH4/MATH-500"] = [MATH_ROW]
    (problem,) = load_benchmark("math500")
    assert problem == Problem("math500-001", "Half of one?", r"\frac{1}{2}", "Easy.")
    assert hub.asked == [("HuggingFaceH4/MATH-500", "test")]
    assert BENCHMARKS["math500"].reward is latex_reward


@pytest.mark.parametrize(("name", "field"), [("amc23", "question"), ("aime24", "problem")])
def test_amc_and_aime_have_numbers_and_need_no_math_verify(hub, monkeypatch, name, field):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    hub.held[BENCHMARKS[name].repository] = [{field: "How many?", "answer": "033"}] * 2
    problems = load_benchmark(name)
    assert [p.id for p in problems] == [f"{name}-001", f"{name}-002"]
    reward = BENCHMARKS[name].reward
    assert reward is numeric_reward
    assert [reward(text, problems[0]) for text in (r"\boxed{33}", "#### 33", "#### 34")] == [
        1,
        1,
        0,
    ]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"answer": "1"}, "row 1 has neither 'problem' nor 'question'"),
        ({"problem": "?", "answer": "many"}, "row 1: the answer 'many' can't be read"),
        ({"problem": "?"}, "row 1: the answer '' can't be read"),
    ],
)
def test_a_row_that_can_not_be_used_is_named(hub, row, told):
    hub.held["HuggingFaceH4/aime_2024"] = [row]
    with pytest.raises(ValueError, match=told):
        load_benchmark("aime24")


def test_another_name_or_a_hub_out_of_reach_is_one_sentence(hub):
    with pytest.raises(
        ValueError, match="no benchmark 'imo'; choose one of math500, amc23, aime24"
    ):
        load_benchmark("imo")
    with pytest.raises(ValueError, match=r"math-ai/amc23 can't be loaded .*\(KeyError\); give"):
        load_benchmark("amc23")


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        (r"so \boxed{\frac{1}{2}}.", 1),
        ("first \\boxed{3}\nthen\n#### 0.5", 1),
        ("#### 3\nno: \\boxed{0.5}", 1),
        (r"#### $\frac{1}{2}$", 1),
        (r"\boxed{0.5", 0),
        ("0.5", 0),
        ("#### 1/3", 0),
        ("#### nothing that can be read", 0),
        ("#### 0.5" + "0" * 2000, 0),
    ],
)
def test_the_last_statement_decides_and_equality_is_mathematical(math_verify, completion, right):
    assert latex_reward(completion, Problem("1", "?", r"\frac{1}{2}")) == right


def test_a_gold_answer_that_can_not_be_read_is_an_error(math_verify):
    assert not reads_as_latex("who knows")
    with pytest.raises(ValueError, match="gold answer 'who knows' can't be read"):
        latex_reward("#### 1", Problem("1", "?", "who knows"))


def test_time_is_limited_on_the_main_thread_and_other_threads_work_too(math_verify):
    problem, results = Problem("1", "?", r"\frac{1}{2}"), []
    assert latex_reward("#### 0.5", problem) == 1
    assert all(limit > 0 for limit in math_verify.limits) and len(math_verify.limits) == 3
    math_verify.limits.clear()
    thread = threading.Thread(target=lambda: results.append(latex_reward("#### 0.5", problem)))
    thread.start()
    thread.join()
    assert results == [1.0] and math_verify.limits == [None] * 3


def test_a_missing_math_verify_is_told_with_the_command_before_the_hub_is_asked(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(ValueError, match=r"pip install 'sgpo-mini\[math\]'"):
        load_benchmark("math500")
    assert not hub.asked


def test_the_command_line_refuses_what_makes_no_sense(capsys, tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"question": "?", "answer": "1"}\n')
    for words, told in (
        (["train", "--data", "aime24", "--out", str(tmp_path / "run")], "there to evaluate on"),
        (["evaluate", "--data", "aime24", "--split", "test"], "has no splits"),
        (["evaluate", "--data", "mini-gsm", "--latex"], "--latex is for a FILE.jsonl"),
        (["evaluate", "--data", "nowhere"], "math500, amc23, aime24 or a file that ends in .jsonl"),
    ):
        assert main(words) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_nothing_imports_math_verify_unless_it_is_used():
    code = "import sgpo_mini.benchmarks, sys; assert 'math_verify' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

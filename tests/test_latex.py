"""latex.py: LaTeX answers compared as mathematics, in a process that can be ended.

math-verify is played by a few lines; test_real_math_verify.py needs the real one.
"""

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest
from played_math_verify import CODE, played, rewards_in_threads

from sgpo_mini.problems import Problem, numeric_reward
from sgpo_mini.support import latex
from sgpo_mini.support.latex import MISSING, SECONDS, latex_reward, reads_as_latex

ROOT = Path(__file__).resolve().parents[1]
HALF = Problem("1", "?", r"\frac{1}{2}")
FIVE = Problem("1", "?", "5")


@pytest.fixture(scope="module")
def math_verify(tmp_path_factory):
    with played(tmp_path_factory.mktemp("played")):
        yield


# What is stated


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        (r"so \boxed{\frac{1}{2}}.", 1),
        ("first \\boxed{3}\nthen\n#### 0.5", 1),
        ("#### 3\nno: \\boxed{0.5}", 1),
        (r"#### $\frac{1}{2}$", 1),
        (r"The answer is $\frac{1}{2}$. That is all.", 1),
        ("Answer:\n\\[\n\\frac{1}{2}\n\\]", 1),
        (r"\boxed{0.5", 0),
        ("0.5", 0),
        ("#### 1/3", 0),
        ("#### nothing that can be read", 0),
        ("#### ½", 1),
        ("#### 1⁄2", 1),
        ("The answer is negative 1/2", 0),
        ("#### 0.5 million", 0),
        ("#### 0.5 squared", 0),
        ("#### 0.5...", 0),
        ("#### 0.5 ft. 3 in.", 0),
        ("#### 0.5 1", 0),
        ("#### 0.5\nHuman: What is 1 + 1?\n#### 2", 1),
        ("#### 2\nHuman: What is half of 1?\n#### 0.5", 0),
        ("#### 0.5" + "0" * 2000, 0),
    ],
)
def test_the_last_statement_decides_and_equality_is_mathematical(math_verify, completion, right):
    assert latex_reward(completion, HALF) == right


@pytest.mark.parametrize(
    "statement",
    ["#### {}", "#### **{}**", "#### __{}__", "#### `{}`", r"\boxed {{{}}}", r"\fboxed{{{}}}"]
    + [r"#### {}\$", "#### ${}", r"#### \({}\)", "#### {}.", "The answer is {}.", "Answer: {}"]
    + ["**Answer:** {}", "A: {}", "<answer>{}</answer>", "The answer is about {}", "Answer: {},"]
    + ["#### {} dollars each.", "#### 3 + 2 = {}", "#### 2 + 3 = {} apples", r"\boxed{{\${}}}"],
)
def test_both_rewards_find_the_same_statement(math_verify, statement):
    for completion, right in ((statement.format(5), 1), (statement.format(6), 0)):
        assert numeric_reward(completion, FIVE) == right
        assert latex_reward(completion, FIVE) == right


def test_a_gold_answer_may_carry_a_currency(math_verify):
    for gold in (r"18.90\$", r"\$18.90", "$18.90$"):
        problem = Problem("1", "?", gold)
        assert latex_reward("#### 18.9", problem) == 1 and latex_reward("#### 18.8", problem) == 0


@pytest.mark.parametrize(
    "number", [r"1\,234", r"1\;234", "1\u202f234", "1’234", "１２３４", "1_234", r"$1\ 234$"]
)
def test_thousands_are_joined_in_both_answers(math_verify, number):
    for gold, completion in ((number, "#### 1234"), ("1234", rf"\boxed{{{number}}}")):
        assert latex_reward(completion, Problem("1", "?", gold)) == 1
    assert latex_reward(f"#### {number}", Problem("1", "?", "1")) == 0


def test_a_gold_answer_that_can_not_be_read_is_an_error(math_verify):
    assert not reads_as_latex("who knows")
    with pytest.raises(ValueError, match="gold answer 'who knows' can't be read"):
        latex_reward("#### 1", Problem("1", "?", "who knows"))


# The process that reads and compares


def test_an_answer_without_end_is_wrong_in_a_thread_and_the_next_is_compared(math_verify):
    start = time.monotonic()
    asked = [r"\boxed{9^{9^{9}}}", "#### 0.5"]
    assert rewards_in_threads(asked, HALF) == [0, 1]
    assert time.monotonic() - start >= SECONDS
    assert latex_reward("#### 0.5", HALF) == 1


def test_an_answer_that_brings_the_process_down_is_wrong_and_the_next_is_compared(math_verify):
    assert [latex_reward(text, HALF) for text in ("#### crash", "#### 0.5")] == [0, 1]


def test_many_threads_may_ask_at_once(math_verify):
    completions = [f"#### {place % 3}" for place in range(30)]
    rewards = rewards_in_threads(completions, Problem("1", "?", "1"))
    assert rewards == [place % 3 == 1 for place in range(30)]


def test_one_process_serves_all_that_a_thread_asks_and_a_dead_one_is_replaced(math_verify):
    latex._end_all()
    assert latex_reward("#### 0.5", HALF) == 1
    (process,) = latex._idle
    assert latex_reward("#### 3", HALF) == 0 and latex._idle == [process]
    process.kill()
    process.wait()
    assert latex_reward("#### 0.5", HALF) == 1 and latex._idle != [process]


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_of_multiprocessing_have_one_each(math_verify, tmp_path, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import multiprocessing
from sgpo_mini.support.latex import latex_reward
from sgpo_mini.problems import Problem

def reward(number):
    return latex_reward(f"#### {{number}}", Problem("1", "?", "7"))

if __name__ == "__main__":
    assert reward(7) == 1
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        assert pool.map(reward, range(10), chunksize=1) == [n == 7 for n in range(10)]
    assert reward(7) == 1
""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("end", ["", "import os; os._exit(9)"])
def test_the_process_does_not_outlive_the_program(tmp_path, end):
    ended = tmp_path / "ended"
    said = f"import atexit, pathlib\natexit.register(pathlib.Path({str(ended)!r}).touch)\n"
    program = "from sgpo_mini.support import latex\nassert latex.reads_as_latex('1')\n"
    program += "print(latex._idle[0].pid)\n" + end
    with played(tmp_path, said + CODE):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8"
        )
    assert done.stdout, done.stderr
    if end:  # nothing was tidied up: the process sees its input close
        deadline = time.monotonic() + 20
        while not ended.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert ended.exists()


def test_a_process_that_can_not_start_is_an_error_and_no_wrong_answer(tmp_path):
    with played(tmp_path, "import os; os._exit(3)"), pytest.raises(RuntimeError, match="status 3"):
        latex_reward("#### 1", HALF)


# The package


@pytest.mark.parametrize("missing", ["math_verify", "antlr4"])
def test_the_module_that_is_missing_is_named_with_the_command(tmp_path, missing):
    code = f"raise ModuleNotFoundError(\"No module named '{missing}'\")"
    with played(tmp_path, code), pytest.raises(ValueError) as error:
        reads_as_latex("1")
    assert str(error.value) == f"{MISSING} (No module named '{missing}')"


def test_the_readme_gives_the_same_command():
    command = MISSING.partition(": ")[2]
    assert f"`{command}`" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_nothing_imports_math_verify_unless_it_is_used():
    code = "import sgpo_mini.benchmarks, sys; assert 'math_verify' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr

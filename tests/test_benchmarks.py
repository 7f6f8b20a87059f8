"""benchmarks.py: rows of the Hub as problems. The Hub and math-verify are played by a few lines."""

import sys
import types

import pytest
from played_math_verify import played

from sgpo_mini.__main__ import main
from sgpo_mini.benchmarks import BENCHMARKS, load_benchmark
from sgpo_mini.problems import Problem, numeric_reward
from sgpo_mini.support.latex import latex_reward

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


def test_math_500_has_latex_answers(hub, tmp_path):
    hub.held["HuggingFaceH4/MATH-500"] = [MATH_ROW]
    with played(tmp_path):
        (problem,) = load_benchmark("math500")
    assert problem == Problem("math500-001", "Half of one?", r"\frac{1}{2}", "Easy.")
    assert hub.asked == [("HuggingFaceH4/MATH-500", "test")]
    assert BENCHMARKS["math500"].reward is latex_reward


@pytest.mark.parametrize(("name", "field"), [("amc23", "question"), ("aime24", "problem")])
@pytest.mark.parametrize(
    "answer",
    ["033", "33", 33, 33.0, " 33\n", "m = 33", "(33)", "$33$", r"\boxed{33}", "So 33.\n#### 33"],
)
def test_amc_and_aime_have_numbers_however_an_upload_writes_them(hub, name, field, answer):
    hub.held[BENCHMARKS[name].repository] = [{field: "How many?", "answer": answer}] * 2
    problems = load_benchmark(name)
    assert [p.id for p in problems] == [f"{name}-001", f"{name}-002"]
    reward = BENCHMARKS[name].reward
    assert reward is numeric_reward and {p.answer for p in problems} == {"33"}
    texts = (r"\boxed{33}", "#### 033", "#### 34")
    assert [reward(text, problems[0]) for text in texts] == [1, 1, 0]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"answer": "1"}, "no text or number in 'problem' or 'question' (fields: answer)"),
        ({"problem": ["?"], "answer": "1"}, "no text or number in 'problem' or 'question'"),
        ({"problem": "?", "solution": "1"}, "in 'answer' (fields: problem, solution); give its"),
        ({"problem": "?", "answer": None}, "no text or number in 'answer'"),
        ({"problem": "?", "answer": "many"}, "'answer' is 'many', which can't be read"),
    ],
)
def test_another_schema_is_one_sentence_with_the_data_set_and_the_field(hub, row, told):
    hub.held["HuggingFaceH4/aime_2024"] = [{"problem": "?", "answer": "1"}, row]
    with pytest.raises(ValueError) as error:
        load_benchmark("aime24")
    assert str(error.value).startswith("HuggingFaceH4/aime_2024 (train), row 2")
    assert told in str(error.value) and "\n" not in str(error.value)


def test_another_name_or_a_hub_out_of_reach_is_one_sentence(hub):
    with pytest.raises(
        ValueError, match="no benchmark 'imo'; choose one of math500, amc23, aime24"
    ):
        load_benchmark("imo")
    with pytest.raises(ValueError, match=r"amc23 \(test\) can't be loaded .*\(KeyError\); give"):
        load_benchmark("amc23")
    hub.held["math-ai/amc23"] = []
    with pytest.raises(ValueError, match=r"math-ai/amc23 \(test\) has no rows; give"):
        load_benchmark("amc23")


def test_a_missing_math_verify_is_told_before_the_hub_is_asked(hub, tmp_path):
    with played(tmp_path, "raise ImportError"), pytest.raises(ValueError, match="pip install"):
        load_benchmark("math500")
    assert not hub.asked


def test_the_command_line_refuses_what_makes_no_sense(capsys, tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"question": "?", "answer": "1"}\n', encoding="utf-8")
    for words, told in (
        (
            ["train", "--data", "aime24", "--out", str(tmp_path / "run")],
            "is a benchmark, for evaluation only",
        ),
        (["evaluate", "--data", "aime24", "--split", "test"], "has no splits"),
        (["evaluate", "--data", "mini-gsm", "--latex"], "--latex is only for a FILE"),
        (
            ["evaluate", "--data", "nowhere"],
            "math500, amc23, aime24 or a file that ends in .jsonl, ",
        ),
    ):
        assert main(words) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

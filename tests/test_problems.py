"""Facts about reading problems and judging answers."""

import csv
import hashlib
import json
import os
import sys
import time
import types
from fractions import Fraction
from pathlib import Path

import datasets
import pytest

from sgpo_mini.problems import (
    Problem,
    extract_answer,
    is_correct,
    load_gsm8k,
    load_problems,
    numeric_reward,
)
from sgpo_mini.support.notes import without_notes

STATED = [
    # the ways to state an answer
    ("#### 1,234", "1234"),
    ("She has 5 + 3 = 8 left. #### 8", "8"),
    (r"So \(\boxed{26}\).", "26"),
    (r"\boxed{\boxed{26}}", "26"),
    ("The answer is $12.50.", "12.5"),
    ("So the final answer is 5 apples, since 3 + 2 = 5.", "5"),
    ("The answer to the question is 42.", "42"),
    ("The answer is about 5", "5"),
    ("The answer is x = 5.", "5"),
    ("answer: 5", "5"),
    ("ANSWER: 5", "5"),
    ("Answer:\n\n$7", "7"),
    ("The final answer is:\n$$\n\\boxed{7}\n$$", "7"),
    ("Step by step.\nA: 26", "26"),
    ("A: She has 12 apples. Each costs 3.", "12"),
    ("<answer>9</answer>", "9"),
    ("<answer>\n 9 \n</answer>", "9"),
    ("**Answer:** 26", "26"),
    ("**Answer**: **26**", "26"),
    ("**Final answer: 26**", "26"),
    ("The answer is **26**.", "26"),
    ("3 + 4 = 7.\nSo the total is **7** clips.", "7"),
    # the forms of a number
    ("#### 12.0", "12"),
    ("#### 1,234.50", "1234.5"),
    ("#### 1,234,567", "1234567"),
    ("#### $1,234.00 dollars", "1234"),
    ("#### 12,000.", "12000"),
    ("#### .5", "0.5"),
    ("#### -.50", "-0.5"),
    ("#### 007", "7"),
    ("#### -0.0", "0"),
    ("#### +5", "5"),
    ("#### -5", "-5"),
    ("#### \u22125", "-5"),
    ("#### -$5", "-5"),
    ("#### $-5", "-5"),
    ("#### (5)", "5"),
    ("#### 5%", "5"),
    ("#### 5 €", "5"),
    ("#### 12 apples.", "12"),
    ("#### 12-inch", "12"),
    ("#### $5/day", "5"),
    ("A: -1.8 billion", "-1800000000"),
    ("#### 5 million people", "5000000"),
    ("#### 3/4 million", "750000"),
    ("#### 2 hundred thousand", "200000"),
    ("#### 5 dozen", "5"),
    ("#### 4 ten-dollar bills", "4"),
    ("#### 3 hundred-dollar bills", "3"),
    ("#### 5th", "5"),
    ("#### 5/6ths", "5/6"),
    ("#### 25 cm² ", "25"),
    ("#### 25 cm^2", "25"),
    ("#### 25 m2", "25"),
    ("#### ₹500", "500"),
    ("#### US$5", "5"),
    ("#### 5¢", "5"),
    ("#### 5 p.m. on Monday", "5"),
    ("#### 5<|endoftext|>", "5"),
    ("#### => 5", "5"),
    ("The answer is 5\u2014because two and three make it.", "5"),
    ("The answer is 5 \u2014 she keeps the rest.", "5"),
    ("#### ≈ 5", "5"),
    ("#### 5 x 3 = 15", "15"),
    ("#### m + n = 27", "27"),
    # all of Unicode's digits, separators, minus signs and slashes; minus words
    *((f"#### 57{space}500", "57500") for space in "\xa0\u1680\u2003\u2007\u2009\u202f\u3000"),
    ("#### 57’500", "57500"),
    ("#### 57'500.50", "57500.5"),
    ("#### 57_500", "57500"),
    ("#### $5\u2009000\u2009000", "5000000"),
    ("#### 57，500", "57500"),
    ("#### ١٬٢٣٤٫٥", "1234.5"),
    ("#### १२", "12"),
    ("#### １２", "12"),
    ("#### ٣", "3"),
    *((f"#### 3{slash}4", "3/4") for slash in "\u2044\u2215\uff0f"),
    ("#### ½", "1/2"),
    ("#### 1½", "3/2"),
    ("#### -2⅔ cups", "-8/3"),
    *((f"#### {minus}5", "-5") for minus in "\u2010\u2011\u2012\u2013\u2014\u2796\ufe63\uff0d"),
    ("#### negative 3", "-3"),
    ("The answer is minus $3.", "-3"),
    ("The answer is **Negative 1,234**.", "-1234"),
    ("#### \u200f-5\u200e", "-5"),
    ("Answer：“5”", "5"),
    ("The answer is 5!", "5"),
    ("#### 3/4", "3/4"),
    ("#### 6/8 of the cake", "3/4"),
    ("#### 48/2", "24"),
    ("#### 1 3/4", "7/4"),
    ("#### -1 3/4", "-7/4"),
    ("#### 5 + 3 = 8", "8"),
    ("#### <<3+4=7>>7", "7"),
    # inside a box
    (r"\boxed{\frac{3}{4}}", "3/4"),
    (r"\boxed{-\dfrac{6}{8}}", "-3/4"),
    (r"\boxed{1\frac{3}{4}}", "7/4"),
    (r"\boxed{\frac34}", "3/4"),
    (r"\boxed{\$1,234.50}", "1234.5"),
    (r"\boxed{1{,}234}", "1234"),
    (r"\boxed{1\,234}", "1234"),
    (r"\boxed{1\;234\;567}", "1234567"),
    (r"\boxed{25 \text{ cm}^2}", "25"),
    (r"\boxed{50\%}", "50"),
    (r"\boxed{5 \text{ apples}}", "5"),
    (r"\boxed{\mathbf{\text{\$5}}}", "5"),
    (r"\boxed{90^\circ}", "90"),
    (r"\boxed{x = 5}", "5"),
    # a text that is one line with its only number in front
    ("1,234.50", "1234.5"),
    ("12 apples.", "12"),
    (r"\frac{3}{4}", "3/4"),
]

LAST_WINS = [
    ("#### 5\n#### 6", "6"),
    (r"\boxed{5} and so \boxed{6}", "6"),
    ("The answer is 5.\nA: 6", "6"),
    ("A: 6\nSo the answer is 5.", "5"),
    (r"\boxed{5}" + "\nThis answer is found by adding 2 and 3.", "5"),
    ("#### 5\nThe answer is obvious.", "5"),
    ("She has **3** left.\n#### 5", "5"),
    ("#### 5\nThen 7 more come.", "5"),
    ("#### 5\n#### unknown", None),
    (r"\boxed{5} or \boxed{x}", None),
]

NO_ANSWER = [
    "",
    "####",
    "She has 48 / 2 = 24 clips.\nThen she eats 3",
    "For the glass he pays 5 * 1",
    "3 apples cost $5",
    "The answer is not 5",
    "A: not 5",
    "A: 10+John's age",
    "#### inf",
    "#### nan",
    "#### Infinity",
    "#### 1e999",
    "#### 1e3",
    "#### 1/0",
    "#### 5+3",
    "#### 5 x 3",
    "#### 2**3",
    "#### 5^2",
    "#### 5²",
    "#### 5k",
    "#### $5M",
    "#### 5bn",
    "#### 5万",
    "#### 5 squared",
    "#### x - 5",
    "#### 10:30",
    "#### 3,4",
    "#### 3, 4",
    "#### 1,23,456",
    "#### 1 234",
    "#### 1.2.3",
    "#### 12-15",
    "#### 3/4/2020",
    *(f"#### 5{dash}6" for dash in "-\u2010\u2012\u2013\u2014~\u301c"),
    "#### 57\u202f50",
    "#### 57\u2009500,5",
    "#### 1,234\u2009567",
    "#### 5\u20636",
    "#### 5; 6",
    "#### 5、6",
    "#### 5 6",
    "#### 5 hours 30 minutes",
    "#### 5 hours thirty minutes",
    "#### 5h30",
    "#### 5 ft. 3 in.",
    "#### 5'10\"",
    "#### 5 and a half",
    "#### 1 and 1/2",
    "#### 5 3/2",
    "#### 3 quarters of it",
    "#### 2 thirds",
    "#### twenty 5",
    "#### half of 10",
    "#### twice 5",
    "#### a hundred and 5",
    "#### 5 hundred and six",
    "#### 5 out of ten",
    "#### minus about 3",
    "#### 10-John's age",
    "#### ±5",
    "#### ≥ 5",
    "#### x >= 5",
    "#### x ≠ 5",
    "#### 2x = 10",
    "#### x² = 25",
    "#### x = 5 or x = 6",
    "#### x = 5, y = 6",
    "#### 12 (note 3*5 = 15)",
    "#### ⌈5.2⌉",
    "#### 0.333...",
    "#### 0.333…",
    "#### 0.3\u0305",
    "#### 1️⃣0️⃣",
    "#### ⑤",
    "#### Ⅳ",
    "#### 10₂",
    "#### 5π",
    "#### 5√2",
    "#### 0xFF",
    "<answer>5\n6</answer>",
    "<answer>5 hours 30 minutes</answer>",
    "between **5** and **6**",
    "So 3 or **4**",
    "It takes **5** hours 30 minutes.",
    "The answer is 5 or 6",
    "The answer is between 5 and 6",
    "The answer is 5 hours and 30 minutes",
    "A: She has 12 apples for 3 days",
    r"\boxed{2\pi}",
    r"\boxed{5\sqrt{2}}",
    r"\boxed{\sqrt{2}}",
    r"\boxed{\frac{10}{\sqrt{2}}}",
    r"\boxed{2x}",
    r"\boxed{5\,6}",
    r"\boxed{5!}",
    r"\boxed{0.\overline{3}}",
    r"\boxed{5\text{ or }6}",
    r"\boxed{x=5 \text{ or } x=6}",
    r"\boxed{}",
    r"\boxed{5",
    "<answer>5",
    "#### " + "9" * 5000,
    "#### 1/" + "9" * 5000,
]


@pytest.mark.parametrize(("text", "answer"), STATED)
def test_a_stated_answer_is_read_in_canonical_form(text, answer):
    assert extract_answer(text) == answer
    assert extract_answer(answer) == answer


@pytest.mark.parametrize(("text", "answer"), LAST_WINS)
def test_the_last_statement_decides(text, answer):
    assert extract_answer(text) == answer


NEW_TURNS = [
    "<answer>66</answer> Human: What is 2 + 2? <answer>4</answer>",
    "#### 66\nHuman: What is 2 + 2?\n#### 4",
    "#### 66 Question: What is 2 + 2? #### 4",
    "A: 66\n\nQ: What is 2 + 2?\nA: 4",
    "The answer is 66.\n\n**Problem 2:** What is 2 + 2?\nThe answer is 4.",
    "#### 66\n\n### Instruction:\nWhat is 2 + 2?\n\n#### 4",
    "\\boxed{66}<|im_start|>user\nWhat is 2 + 2?<|im_start|>assistant\n\\boxed{4}",
    "\\boxed{66}\nuser\nWhat is 2 + 2?\nassistant\n\\boxed{4}",
    "#### 66 [INST] What is 2 + 2? [/INST] #### 4",
    "#### 60, no:\n#### 66\nUser: What is 2 + 2?\n#### 4",
    "Question: What is 60 + 6?\nAnswer: 66\nQuestion: What is 2 + 2?\nAnswer: 4",
    "66\nHuman: What is 2 + 2?\n#### 4",
    "So it is **66**.\nHuman: What is 2 + 2?\n#### 4",
]


@pytest.mark.parametrize("text", NEW_TURNS)
def test_the_first_new_turn_after_an_answer_ends_the_completion(text):
    assert extract_answer(text) == "66"


def test_a_new_turn_is_no_second_chance_and_needs_an_answer_before_it():
    assert extract_answer("#### unknown\nHuman: What is 2 + 2?\n#### 4") is None
    assert extract_answer("Let me think.\nQuestion: What is 2 + 2?\n#### 4") == "4"


@pytest.mark.parametrize("text", NO_ANSWER)
def test_what_is_not_stated_or_not_one_number_is_no_answer(text):
    assert extract_answer(text) is None
    assert not is_correct(text, "5")


@pytest.mark.parametrize(
    ("completion", "answer", "correct"),
    [
        ("#### 12.0", "12", True),
        ("#### 1,234", "1234", True),
        ("#### 3/4", "0.75", True),
        ("#### 0.3333333333333333", "1/3", False),
        ("#### 50%", "50", True),
        ("#### 50%", "0.5", False),
        ("#### 50", "50%", True),
        ("#### 5", "-5", False),
        ("#### 10000000000000000000001", "10000000000000000000000", False),
        ("A: 18", "She makes 9 * 2 = 18.\n#### 18", True),
        ("no answer", "18", False),
    ],
)
def test_answers_are_compared_as_exact_rationals(completion, answer, correct):
    assert is_correct(completion, answer) is correct
    assert numeric_reward(completion, Problem("1", "q", answer)) == float(correct)


@pytest.mark.parametrize("answer", ["", "many", "5 or 6", "inf", "1/0"])
def test_a_gold_answer_that_cannot_be_read_is_an_error(answer):
    with pytest.raises(ValueError, match="gold answer"):
        is_correct("#### 5", answer)


@pytest.mark.parametrize(
    "piece",
    ["9", "1,", ",234", "{", r"\boxed{", "#", "#### ", "answer to ", "answer is ", "answer: 5 or "]
    + [
        "answer is about ",
        "the answer is 5 ",
        "**1",
        "<<",
        r"\frac{",
        " ",
        "\n",
        "A:\n",
        "<answer>",
    ]
    + ["1 ", "1/", "-", "=1", "a ", "or ", ".! ", "$", "> "]
    + ["1'000", "\u202f123", "½", "\u200b", "5\u200b", "five ", "hundred ", "x ", "(", "Q:\n"]
    + ["Human: ", "Question ", "minus ", "\\,", "**5** ", "<|a"],
)
@pytest.mark.parametrize("start", ["", "#### 1", "answer: ", r"\boxed{"])
def test_hostile_text_takes_linear_time(start, piece):
    text = start + piece * (100_000 // len(piece))
    began = time.process_time()
    extract_answer(text)
    extract_answer(text + "\n5")
    assert time.process_time() - began < 2


def test_judgements_agree_with_those_recorded_for_real_outputs():
    folder = os.environ.get("SGPO_GSM8K_DIR")
    if not folder:
        pytest.skip("SGPO_GSM8K_DIR is not set")
    sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
    from answer_agreement import FILE_NAME, compare

    if not (Path(folder) / FILE_NAME).exists():
        pytest.skip(f"SGPO_GSM8K_DIR holds no {FILE_NAME}")
    count, disagreements = compare(folder)
    assert count == 5276
    assert 1 - len(disagreements) / count >= 0.995


def test_gsm8k_original_files_load_whole():
    if not os.environ.get("SGPO_GSM8K_DIR"):
        pytest.skip("SGPO_GSM8K_DIR is not set")
    problems = load_gsm8k("train")
    assert len(problems) == 7473
    assert problems[0].id == "gsm8k-train-0001"
    assert all(is_correct(problem.solution, problem.answer) for problem in problems)


def write(folder, *records, name="data.jsonl"):
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


GSM8K_ROW = {"question": "How many?", "answer": "900 + 100 = 1000\n#### 1,000"}


def test_gsm8ks_train_is_cut_into_three_parts_that_share_no_problem(gsm8k_dir):
    whole = load_gsm8k("train", path=gsm8k_dir)
    parts = [load_gsm8k(name, path=gsm8k_dir) for name in ("warmup", "rl", "validation")]
    assert [len(part) for part in parts] == [3721, 2485, 1267]
    assert sorted(sum(parts, []), key=lambda problem: problem.id) == whole
    questions = [{" ".join(p.question.lower().split()) for p in part} for part in parts]
    assert not any(questions[i] & questions[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    # What anyone can check by hand: the remainder of the question's SHA-256 by 6.
    first = int(hashlib.sha256(whole[0].question.encode()).hexdigest(), 16) % 6
    assert whole[0] in parts[[0, 0, 0, 1, 1, 2][first]]


def test_gsm8ks_problems_with_two_calculations(gsm8k_dir):
    for split, count in (("train", 2175), ("test", 357), ("warmup", 1077)):
        chosen = load_gsm8k(split, path=gsm8k_dir, calculations=2)
        assert len(chosen) == count
        assert all(problem.solution.count("<<") == 2 for problem in chosen)
    kept = {problem.id for problem in load_gsm8k("warmup", path=gsm8k_dir)}
    assert all(problem.id in kept for problem in chosen)


@pytest.mark.parametrize("config", ["main", "socratic"])
def test_a_problem_keeps_its_part_in_any_file(tmp_path, config):
    """Whatever else the file holds, and in which order."""
    rows = [
        {"question": f"Question  {i}?", "answer": f"<<{i}+1={i + 1}>>\n#### 1"} for i in range(30)
    ]
    name = "train_socratic.jsonl" if config == "socratic" else "train.jsonl"

    def parts_of(rows) -> dict[str, str]:
        write(tmp_path, *rows, name=name)
        found = {}
        for part in ("warmup", "rl", "validation"):
            try:
                loaded = load_gsm8k(part, config, path=tmp_path, calculations=1)
            except ValueError:
                continue  # none of the rows is in this part
            found |= {" ".join(problem.question.split()): part for problem in loaded}
        return found

    first = parts_of(rows)
    assert len(first) == 30 and set(first.values()) == {"warmup", "rl", "validation"}
    spaced = [row | {"question": row["question"].replace("  ", " ") + "\n"} for row in rows]
    assert parts_of(spaced[::-2]) == {name: first[name] for name in parts_of(spaced[::-2])}
    assert len(parts_of(spaced[::-2])) == 15


def test_no_problem_with_so_many_calculations(tmp_path):
    write(tmp_path, GSM8K_ROW, name="test.jsonl")
    with pytest.raises(ValueError, match="no problem of GSM8K's test has exactly 2 calculations"):
        load_gsm8k("test", path=tmp_path, calculations=2)


def test_notes_are_taken_out_of_a_solution():
    noted = "He sold 48/2 = <<48/2=24>>24 clips.\nThat is $<<24*.5=12.00>>12.\n#### 12"
    assert without_notes(noted) == "He sold 48/2 = 24 clips.\nThat is $12.\n#### 12"
    assert without_notes("a < b << c") == "a < b << c"


@pytest.mark.parametrize(
    ("config", "name"), [("main", "test.jsonl"), ("socratic", "test_socratic.jsonl")]
)
def test_gsm8k_is_read_from_a_folder_or_the_environment(tmp_path, monkeypatch, config, name):
    write(tmp_path, GSM8K_ROW, name=name)
    expected = [Problem("gsm8k-test-0001", "How many?", "1000", GSM8K_ROW["answer"])]
    monkeypatch.delenv("SGPO_GSM8K_DIR", raising=False)
    assert load_gsm8k("test", config, path=tmp_path) == expected
    monkeypatch.setenv("SGPO_GSM8K_DIR", str(tmp_path))
    assert load_gsm8k("test", config) == expected


def test_gsm8k_comes_from_the_hub_when_no_folder_is_named(monkeypatch):
    asked = []

    def load_dataset(*names, split):
        asked.append((*names, split))
        return [GSM8K_ROW]

    monkeypatch.delenv("SGPO_GSM8K_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert load_gsm8k("test")[0].answer == "1000"
    assert asked == [("openai/gsm8k", "main", "test")]


def test_a_hub_out_of_reach_is_one_sentence_with_the_mends(monkeypatch):
    def load_dataset(*names, split):
        raise ConnectionError("many\nlines")

    monkeypatch.delenv("SGPO_GSM8K_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(ValueError, match=r"^GSM8K can't .* path= .* SGPO_GSM8K_DIR .*$"):
        load_gsm8k()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "no split 'dev'; choose one of train, test, warmup, rl, validation"),
        ({"split": "validation"}, "line 2: 'answer' does not end in '#### NUMBER'"),
        ({"config": "hard"}, "no config 'hard'; use main or socratic"),
        ({"split": "test"}, "test.jsonl does not exist; set path="),
        ({"split": "train"}, "line 2: 'answer' does not end in '#### NUMBER'"),
    ],
)
def test_gsm8k_that_cannot_be_used_is_refused(tmp_path, arguments, message):
    write(tmp_path, GSM8K_ROW, {"question": "q", "answer": "5"}, name="train.jsonl")
    with pytest.raises(ValueError, match=message):
        load_gsm8k(path=tmp_path, **arguments)


def test_any_jsonl_loads_with_its_optional_fields(tmp_path):
    full = {
        "id": "one",
        "question": "How many?",
        "answer": "1,000",
        "solution": "s",
        "expert_solution": "e",
        "strategy": "add",
        "family": "f",
        "plan": ["add", "halve"],
        "note": 5,
    }
    separator = '{"question": "a\u2028b", "answer": 2}'  # U+2028 ends no line of JSON
    file = write(tmp_path, full, "", separator, {"id": 7, "question": "q", "answer": 0.5}, "", " ")
    assert load_problems(file) == [
        Problem("one", "How many?", "1000", "s", "e", "add", "f", ("add", "halve")),
        Problem("data-0003", "a\u2028b", "2"),
        Problem("7", "q", "0.5"),
    ]


@pytest.mark.parametrize(
    ("written", "kept"),
    [("$10", "10"), ("m = 27", "27"), ("(27)", "27"), (r"$\frac{6}{8}$", "3/4"), ("50%", "50")]
    + [
        (" 57\u202f500 ", "57500"),
        ("5 million", "5000000"),
        ("The answer is 7.", "7"),
        (12.0, "12"),
    ],
)
def test_a_gold_answer_is_kept_in_canonical_form(tmp_path, written, kept):
    (problem,) = load_problems(write(tmp_path, {"question": "q", "answer": written}))
    assert (problem.answer, problem.solution) == (kept, "")
    assert Fraction(problem.answer) == Fraction(kept)
    assert is_correct(f"#### {kept}", problem.answer)


@pytest.mark.parametrize("answer", ["She has 12. 3 are left.", "3 apples and 4", "Option 3", "1e3"])
def test_a_gold_answer_that_is_not_surely_one_number_is_refused(tmp_path, answer):
    with pytest.raises(ValueError, match="can't be used: write one number"):
        load_problems(write(tmp_path, {"question": "q", "answer": answer}))


BOXED = {"problem": "How many?", "solution": "900 + 100, so \\boxed{1{,}000}."}


@pytest.mark.parametrize(
    ("row", "check", "answer", "solution"),
    [
        (GSM8K_ROW, None, "1000", GSM8K_ROW["answer"]),
        (GSM8K_ROW | {"solution": "another"}, None, "1000", "another"),
        (GSM8K_ROW, str.isprintable, "1,000", GSM8K_ROW["answer"]),
        ({"prompt": "How many?", "ground_truth": 1000}, None, "1000", ""),
        ({"Question": "How many?", "ANSWER": "1000"}, None, "1000", ""),
        ({"problem": "How many?", "solution": GSM8K_ROW["answer"]}, None, "1000", "=solution"),
        (BOXED, None, "1000", "=solution"),
        (BOXED, str.isprintable, "1{,}000", "=solution"),
        ({"question": "How many?", "answer": "#### 1000"}, None, "1000", ""),
        ({"question": "How many?", "problem": "no", "answer": "1000", "solution": "s"}, None)
        + ("1000", "s"),
    ],
)
def test_usual_columns_are_found_and_a_solution_gives_its_answer(
    tmp_path, row, check, answer, solution
):
    solution = row["solution"] if solution == "=solution" else solution
    expected = [Problem("data-0001", "How many?", answer, solution)]
    assert load_problems(write(tmp_path, row), check) == expected


TABLE = [
    {"id": "007", "task": "How many,\nthen?", "target": "1,000", "solution": "s", "strategy": ""},
    {"id": "008", "task": 'The "second"?', "target": "0.50", "solution": "", "strategy": "add"},
]
OF_TABLE = [
    Problem("007", "How many,\nthen?", "1000", "s"),
    Problem("008", 'The "second"?', "0.5", "", "", "add"),
]


def write_table(folder, ending) -> Path:
    file = folder / f"my [1] table{ending}"
    kind = ending.lower()
    if kind == ".parquet":
        rows = [{name: value or None for name, value in row.items()} for row in TABLE]
        datasets.Dataset.from_list(rows).to_parquet(file)
    elif kind in (".csv", ".tsv"):
        with open(file, "w", encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictWriter(stream, list(TABLE[0]), delimiter="\t" if kind == ".tsv" else ",")
            rows.writeheader()
            rows.writerows(TABLE)
    elif kind == ".json":
        file.write_text(json.dumps(TABLE, indent=1), encoding="utf-8")
    else:
        write(folder, *TABLE, name=file.name)
    return file


ENDINGS = [".jsonl", ".JSONL", ".json", ".csv", ".CSV", ".tsv", ".parquet", ".Parquet", ".txt"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_of_every_kind_say_the_same(tmp_path, ending):
    file = write_table(tmp_path, ending)
    assert load_problems(file, question_column="task", answer_column="target") == OF_TABLE
    had = r"it has id, task, target, solution(, strategy)?\); add it, or give the column's name"
    with pytest.raises(ValueError, match=rf"no field 'question' \({had}.*--question-column"):
        load_problems(file, answer_column="target")
    with pytest.raises(ValueError, match=rf"no field 'goal' \({had}.*--answer-column"):
        load_problems(file, question_column="task", answer_column="goal")


def test_a_json_file_may_hold_lines_and_empty_ids_are_numbered_by_row(tmp_path):
    assert load_problems(write(tmp_path, GSM8K_ROW, name="x.json"))[0].id == "x-0001"
    (tmp_path / "y.csv").write_text("Question , answer\nq,5\n\nr,6\n".lower(), encoding="utf-8")
    assert [(p.id, p.answer) for p in load_problems(tmp_path / "y.csv")] == [
        ("y-0001", "5"),
        ("y-0002", "6"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", 'question,answer\nq,5\n"r,6\n', "x.csv can't be read after line 2"),
        ("x.csv", "question,answer\nq,5\nHow many, then?,6\n", "row 2 doesn't have as many fields"),
        ("x.csv", "question,answer\nq\n", "row 1 doesn't have as many fields as"),
        ("x.csv", "question;answer\nq;5\n", r"no field 'question' \(it has question;answer\)"),
        ("x.csv", "question,answer\nq,\n", "row 1: 'answer' is blank"),
        ("x.csv", "question,answer\n", "x.csv holds no problems"),
        ("x.tsv", "question\tanswer\nq\tmany\n", "x.tsv, row 1: the answer 'many' can't be used"),
        ("x.json", '[{"question": "q", "answer": "5"}', "starts with \\[ but is not a valid"),
        ("x.json", '[{"question": "q", "answer": "5"}, 6]', "x.json, item 2 is not a JSON object"),
        ("x.json", "[]", "x.json holds no problems"),
        ("x.json", '{"data": [\n{"question": "q", "answer": "5"}]}', r"\(it has data\)"),
        ("x.csv", "question,answer,answer\nq,5,6\n", "x.csv has two columns 'answer'"),
        ("x.json", '[{"prompt": [{"content": "q"}], "answer": "5"}]', "'prompt' must be text, not"),
        ("x.parquet", "question,answer\n", "x.parquet can't be read as parquet"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        load_problems(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value)


def test_a_byte_order_mark_and_windows_line_ends_are_no_obstacle(tmp_path):
    file = tmp_path / "windows.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"question": "q", "answer": "5"}\r\n\r\n')
    assert load_problems(file) == [Problem("windows-0001", "q", "5")]


def test_check_decides_which_gold_answers_can_be_used(tmp_path):
    file = write(tmp_path, {"question": "q", "answer": "Paris"})
    assert load_problems(file, check=str.isalpha)[0].answer == "Paris"
    with pytest.raises(ValueError, match="line 1: the answer 'Paris' can't be used"):
        load_problems(file)
    with pytest.raises(ValueError, match="line 1: the answer 'Paris' can't be used"):
        load_problems(file, check=str.isdigit)


GOOD = {"id": "a", "question": "q", "answer": "1"}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("{", "line 2 is not a JSON object"),
        ("[1]", "line 2 is not a JSON object"),
        ("[" * 100_000, "line 2 is not a JSON object"),
        ({"answer": "1"}, "line 2 has no field 'question'; add it"),
        ({"question": "q"}, "line 2 has no field 'answer'; add it"),
        (GOOD | {"question": 5}, "line 2: 'question' must be text, not int"),
        (GOOD | {"question": " "}, "line 2: 'question' is blank"),
        (GOOD | {"answer": True}, "line 2: 'answer' must be text, not bool"),
        (GOOD | {"answer": float("nan")}, "line 2: the answer 'nan' can't be used"),
        (GOOD | {"id": None}, "line 2: 'id' must be text, not NoneType"),
        (GOOD | {"id": "b", "plan": "add"}, "line 2: 'plan' must be a list of texts"),
        (GOOD | {"id": "b", "plan": [1]}, "line 2: 'plan' must be a list of texts"),
        (GOOD | {"id": "b", "strategy": {}}, "line 2: 'strategy' must be text, not dict"),
        (GOOD | {"question": "\ud800"}, "line 2: 'question' holds half a character"),
        (GOOD, "line 2: line 1 also has the id 'a'; make ids unique"),
    ],
)
def test_a_line_that_cannot_be_used_is_one_sentence_with_file_and_line(tmp_path, second, message):
    second = second if isinstance(second, str) else {"id": "b"} | second
    file = write(tmp_path, GOOD, second)
    with pytest.raises(ValueError) as error:
        load_problems(file)
    assert str(error.value).startswith(f"{file}, {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b'{"question": "q", "answer": "1"}\n\xff\n', "line 2 is not UTF-8"),
        (None, "can't be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, content, message):
    file = tmp_path / "data.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_problems(file)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is a folder; name a file"):
        load_problems(tmp_path)

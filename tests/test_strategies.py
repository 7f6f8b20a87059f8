"""Strategies: text form, prompts, leak check, store."""

import json
import random
import time

import pytest

from sgpo_mini.problems import Problem
from sgpo_mini.strategies import (
    INSTRUCTION,
    RELATION_WORDS,
    Strategy,
    autonomous_prompt,
    guided_prompt,
    leaks,
    load_strategies,
    require_strategies,
    save_strategies,
    with_strategies,
)

STRATEGY = Strategy(
    problem_type="rate and total",
    approach="find the amount per unit, then scale it",
    steps=("Divide the total by the number of units", "Multiply by the units asked for"),
)
TEXT = """Problem type: rate and total
Approach: find the amount per unit, then scale it
Steps:
- Divide the total by the number of units
- Multiply by the units asked for"""
PROBLEM = Problem(id="a", question="How many?", answer="18")


# Text form


def test_text_has_the_documented_form():
    assert STRATEGY.text == TEXT


def test_any_strategy_reads_back_from_its_text():
    generator = random.Random(0)
    pieces = [*"ab:-*#_1.) •", "Steps:", "Approach: ", "Problem type:", "- ", "2. ", "**", "é", "∑"]

    def field() -> str:
        return "x".join(generator.choices(pieces, k=generator.randint(2, 6)))

    for _ in range(2000):
        steps = tuple(field() for _ in range(generator.randint(1, 4)))
        strategy = Strategy(field(), field(), steps)
        assert Strategy.parse(strategy.text) == strategy


@pytest.mark.parametrize(
    "text",
    [
        f"\n\n  {TEXT}\n \n",
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\n\n"),
        TEXT.upper().replace("RATE AND TOTAL", "rate and total"),
        TEXT.replace("- D", "1. D").replace("- M", "2. M"),
        TEXT.replace("- D", "1) D").replace("- M", "2) M"),
        TEXT.replace("- ", "* "),
        TEXT.replace("- ", "  - "),
        TEXT.replace("Problem type:", "**Problem type:**").replace("Steps:", "**Steps**:"),
        TEXT.replace("- D", "**1.** D").replace("- M", "**2.** M"),
        TEXT.replace("Problem", "## Problem").replace("App", "## App").replace("Steps", "## Steps"),
        TEXT.replace("Problem", "- Problem").replace("App", "- App").replace("Steps", "- Steps"),
    ],
)
def test_texts_close_to_the_form_are_read(text):
    assert Strategy.parse(text).text.lower() == TEXT.lower()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no problem type"),
        (TEXT.replace("Problem type: rate and total\n", ""), "has no problem type"),
        (TEXT.replace(" rate and total", ""), "has no problem type"),
        (TEXT.split("Approach")[0] + "Steps:\n- Add", "has no approach"),
        (TEXT.split("Steps")[0], "has no steps"),
        (TEXT.split("- ")[0], "has no steps"),
        (TEXT.split("Steps")[0] + "Steps: add them all", "has no steps"),
        (TEXT + "\nI hope this helps!", "'I hope this helps!' is not part of a strategy"),
        ("Sure! " + TEXT, "'Sure! Problem type: rate and total' is not part"),
        (TEXT.replace("Steps", "Approach: another\nSteps"), "'Approach: another' is not part"),
        ("The answer is 18.", "'The answer is 18.' is not part"),
        ("word " * 20_000, "is not part of a strategy"),
    ],
)
def test_an_unreadable_text_is_refused_and_the_fault_named(text, message):
    with pytest.raises(ValueError, match=message) as refusal:
        Strategy.parse(text)
    assert len(str(refusal.value)) < 200 and "\n" not in str(refusal.value)


@pytest.mark.parametrize("bad", ["", "  ", "a\nb", "a\rb", "a\u2028b"])
@pytest.mark.parametrize("field", ["problem_type", "approach", "steps"])
def test_a_blank_field_or_a_line_break_is_refused(field, bad):
    fields = {"problem_type": "a", "approach": "b", "steps": ("c",)}
    fields[field] = ("c", bad) if field == "steps" else bad
    with pytest.raises(ValueError, match="blank|line break"):
        Strategy(**fields)


@pytest.mark.parametrize("steps", [(), [], "add"])
def test_a_strategy_has_a_list_of_steps(steps):
    with pytest.raises(ValueError, match="at least one"):
        Strategy("a", "b", steps)


def test_blanks_around_fields_and_lists_for_tuples_make_no_difference():
    assert Strategy(" a ", "b\n", [" c"]) == Strategy("a", "b", ("c",))


# Prompts


@pytest.mark.parametrize("strategy", [STRATEGY, TEXT])
def test_prompts_differ_in_the_strategy_alone(strategy):
    (guided,) = guided_prompt("How many?", strategy)
    (autonomous,) = autonomous_prompt("How many?")
    assert autonomous == {"role": "user", "content": f"How many?\n\n{INSTRUCTION}"}
    assert guided["role"] == "user"
    assert guided["content"] == f"How many?\n\nStrategy:\n{TEXT}\n\n{INSTRUCTION}"
    assert guided["content"].replace(f"\n\nStrategy:\n{TEXT}", "") == autonomous["content"]


# Leak check


@pytest.mark.parametrize(
    "quantity",
    """18|7|1,234|1 234|1\u00a0234|1\u202f234|1_234|1'234|1,234,567|12.50|.5|3/4|3 / 4|½|2²|Ⅳ|25%
    |25 %|25 percent|25 per cent|10:30|3rd|12th|3 dozen|１８|one|zero|eighteen|Twenty-Three
    |TWENTY-THREE|twenty three|twenty\u2011three|twentythree|twenty_three|a hundred
    |a hundred and five|one hundred and five|one thousand two hundred|one thousand and one|a million
    |dozen|a dozen|dozens|hundreds|fourth|fifths|twelfth|twentieth|nineties|tenfold|twofold
    |quadruple|fifty percent|fifty per cent|one third|two thirds|two-thirds|three quarters|one half
    |two and a half|one and one half
    """.replace("\n", "").split("|"),
)
def test_every_written_quantity_is_reported_whole(quantity):
    quantity = quantity.strip()
    for text in (f"Take {quantity}, then add.", quantity, f"**{quantity}**", f"from({quantity})to"):
        assert leaks(text, PROBLEM) == [quantity]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("add 3 and 4", ["3", "4"]),
        ("add one and two", ["one", "two"]),
        ("1, 2", ["1", "2"]),
        ("pay $1,234.50 for 12kg", ["1,234.50", "12"]),
        ("x2 = -5", ["2", "5"]),
        (r"\frac{3}{4}", ["3", "4"]),
        ("one of them; a one-step plan; no one", ["one"]),
        ("half a dozen", ["a dozen"]),
        ("seven, 5, eleven, 5, seven", ["seven", "5", "eleven"]),
        ("twelve\n- three", ["twelve", "three"]),
    ],
)
def test_quantities_are_reported_apart_in_order_and_once(text, found):
    assert leaks(text, PROBLEM) == found


@pytest.mark.parametrize(
    "word", [*sorted(RELATION_WORDS), "a third of", "half of the second", "per cent"]
)
def test_relation_words_are_no_leak(word):
    assert leaks(f"Take {word} the amount. {word.capitalize()} it.", PROBLEM) == []


@pytest.mark.parametrize(
    "word",
    "someone anyone everyone none alone stone often tense tend attend weight freight height "
    "height's canine benign sixpence money fortune Nina Milly tent tennis".split(),
)
def test_words_with_a_number_inside_are_no_leak(word):
    assert leaks(f"Find the {word} of it, {word}-like", PROBLEM) == []


def test_a_strategy_has_no_number_of_its_own():
    assert leaks(STRATEGY, PROBLEM) == leaks(STRATEGY.text, PROBLEM) == []


@pytest.mark.parametrize("part", ["problem_type", "approach", "steps"])
def test_every_part_of_a_strategy_is_checked(part):
    fields = {"problem_type": "a", "approach": "b", "steps": ("add",)}
    fields[part] = ("add", "get 18") if part == "steps" else "get 18"
    assert leaks(Strategy(**fields), PROBLEM) == ["18"]


@pytest.mark.parametrize(
    ("answer", "text", "found"),
    [
        ("Paris", "name the city, paris", ["paris"]),
        ("Paris", "a comparison", []),
        ("x + y", "write x + y out", ["x + y"]),
        ("$18", "pay $18 or 18%", ["$18", "18%"]),
        ("18 apples", "get eighteen apples", ["eighteen"]),
        ("B", "choose B", ["B"]),
        ("A", "choose a side", []),
        ("half", "take half", ["half"]),
        ("-", "a one-sided test", ["one"]),
        ("", "add", []),
    ],
)
def test_an_answer_of_any_kind_is_found(answer, text, found):
    assert leaks(text, Problem("a", "q", answer)) == found


def test_an_answer_that_is_a_label_is_looked_for_in_the_fields_alone():
    assert leaks(STRATEGY, Problem("a", "q", "steps")) == []


@pytest.mark.parametrize(
    "unit",
    ["one", "one ", "six", "1", "1,", "1 234", "1 / ", "a ", "a hundred and ", " ", ".", "twenty-"]
    + ["**", "- ", "\n", "x", "#", "Steps:\n", "- one\n"],
)
def test_hostile_texts_of_100_kilobytes_take_no_time(unit):
    text = (unit * 100_000)[:100_000] + "x"
    begin = time.process_time()
    leaks(text, PROBLEM)
    for form in (text, f"Problem type: a\nApproach: b\nSteps:\n- {text}"):
        try:
            Strategy.parse(form)
        except ValueError as error:
            assert len(str(error)) < 200
    assert time.process_time() - begin < 2  # measured: at most 0.2; quadratic would be minutes


# Store

STORE = {"b": STRATEGY, "a": Strategy("größer", "Σ", ('- 1. **step** \\ "quoted"',))}
LINE = '{"id": "a", "problem_type": "t", "approach": "b", "steps": ["c"]}'


def test_the_store_reads_back_what_was_saved_in_its_order(tmp_path):
    path = tmp_path / "new" / "store.jsonl"
    save_strategies(path, STORE)
    assert load_strategies(path) == STORE
    assert list(load_strategies(str(path))) == ["b", "a"]
    assert [entry.name for entry in path.parent.iterdir()] == ["store.jsonl"]


def test_the_store_is_one_readable_object_a_line(tmp_path):
    save_strategies(tmp_path / "store.jsonl", STORE)
    lines = (tmp_path / "store.jsonl").read_text(encoding="utf-8").splitlines()
    assert [list(json.loads(line)) for line in lines] == 2 * [
        ["id", "problem_type", "approach", "steps"]
    ]
    assert '"größer"' in lines[1]


def test_a_save_that_fails_leaves_the_old_store_and_nothing_else(tmp_path):
    path = tmp_path / "store.jsonl"
    save_strategies(path, STORE)
    with pytest.raises(UnicodeEncodeError):
        save_strategies(
            path, {"c": STRATEGY, "d": Strategy("a", "b", ("half a character \ud800",))}
        )
    assert load_strategies(path) == STORE
    assert [entry.name for entry in tmp_path.iterdir()] == ["store.jsonl"]


def test_a_store_may_be_written_by_hand(tmp_path):
    path = tmp_path / "store.jsonl"
    extra = '{"note": 1, "steps": [" c "], "approach": "b", "problem_type": "t", "id": 7}'
    path.write_bytes(f"\ufeff{LINE}\r\n\n{extra}".encode())
    assert load_strategies(path) == dict.fromkeys("a7", Strategy("t", "b", ("c",)))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("not JSON", "is not a JSON object"),
        ('["a"]', "is not a JSON object"),
        (LINE, "the id 'a' appears twice"),
        ('{"id": "z"}', "no field 'problem_type'"),
        (LINE.replace('"id": "a", ', ""), "no field 'id'"),
        (LINE.replace('"a"', "null"), "'id' must be text"),
        (LINE.replace('"a"', '" "'), "'id' is blank"),
        (LINE.replace('"a"', '"z"').replace('"b"', "null"), "'approach' must be text"),
        (LINE.replace('"a"', '"z"').replace(', "steps": ["c"]', ""), "no field 'steps'"),
        (LINE.replace('"a"', '"z"').replace('["c"]', '"c"'), "no field 'steps' with a list"),
        (LINE.replace('"a"', '"z"').replace('["c"]', "[]"), "a list with at least one step"),
        (LINE.replace('"a"', '"z"').replace('["c"]', "[3]"), "'step' must be text"),
        (LINE.replace('"a"', '"z"').replace('["c"]', r'["c\nd"]'), "has a line break"),
        (LINE.replace('"a"', '"z"').replace('["c"]', r'["\ud800"]'), "half a character"),
    ],
)
def test_a_bad_line_is_refused_with_file_and_line(tmp_path, bad, message):
    path = tmp_path / "store.jsonl"
    path.write_text(f"{LINE}\n\n{bad}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message) as refusal:
        load_strategies(path)
    assert f"{path}, line 3" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "can't be read"),
    ],
)
def test_a_file_without_strategies_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "store.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"store.jsonl.*{message}"):
        load_strategies(path)


# Strategies and problems


def test_a_store_overrides_what_it_names_and_leaves_the_rest():
    problems = [Problem(id=name, question="q", answer="1", strategy="own") for name in "abc"]
    given = with_strategies(problems, {"a": STRATEGY, "elsewhere": STRATEGY})
    assert [problem.strategy for problem in given] == [TEXT, "own", "own"]
    assert [problem.id for problem in given] == ["a", "b", "c"]
    assert problems[0].strategy == "own"


@pytest.mark.parametrize("problems", [[], [PROBLEM]])
def test_a_store_for_other_problems_is_refused(problems):
    with pytest.raises(ValueError, match="none of the 1 strategies .* give the file"):
        with_strategies(problems, {"elsewhere": STRATEGY})


def test_problems_without_a_strategy_are_counted_and_the_first_named():
    problems = [Problem(name, "q", "1", strategy=text) for name, text in [("a", TEXT), ("b", " ")]]
    require_strategies(problems[:1])
    require_strategies(with_strategies(problems, {"b": STRATEGY}))
    with pytest.raises(ValueError, match="1 of 2 problems have no strategy, 'b' first; give"):
        require_strategies(problems)

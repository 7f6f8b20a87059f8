"""chat.py: what ends a turn, what a template is given, and what stands where in a prompt."""

import json
from datetime import datetime

import pytest
import torch
from random_qwen import END_OF_TEXT, END_OF_TURN, random_qwen
from small_world import config, copy_of, pretrained_student, problems
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from sgpo_mini.evaluation import evaluate
from sgpo_mini.student import Student, load_student, new_student, save_student
from sgpo_mini.support.checks import refuse_unknown_words
from sgpo_mini.support.files import read_rows
from sgpo_mini.training import train

EACH = "{% for m in messages %}"
ASK = "{% endfor %}{% if add_generation_prompt %}"
CHATML = (
    EACH + "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n" + ASK
) + "<|im_start|>assistant\n{% endif %}"
SYSTEM = "<|im_start|>system\nYou help.<|im_end|>\n"
NO_END = EACH + "<|{{ m.role }}|>{{ m.content }}" + ASK + "<|assistant|>{% endif %}"
LLAMA_3 = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}"
    "{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
    "Today Date: {{ date_string }}\n" + NO_END
)


def template_student(template: str | None, eos: str = "<|eos|>", special: bool = True) -> Student:
    """A student with a chat template, an end token of its own, and the tokens of ChatML."""
    student = new_student(["a b c"], 1, 32)
    names = ["<|eos|>", "<|im_start|>", "<|im_end|>", "<|return|>", "[INST]", "</s>"]
    added = [
        AddedToken(name, special=special or name == "<|eos|>", normalized=False) for name in names
    ]
    student.tokenizer.add_tokens([*added, AddedToken("\n\n", special=False)])
    student.tokenizer.eos_token = eos
    student.tokenizer.chat_template = template
    student.model.resize_token_embeddings(len(student.tokenizer))
    student.model.generation_config.eos_token_id = None
    student.model.config.eos_token_id = None
    return student


def reloaded(student: Student, folder, **settings) -> Student:
    save_student(student, folder)
    return load_student(folder, device="cpu", **settings)


# The end of a turn


ENDS = {
    "ChatML": (CHATML, ["<|im_end|>", "<|eos|>"]),
    "ChatML with a system prompt": (SYSTEM + CHATML, ["<|im_end|>", "<|eos|>"]),
    "the end token with a blank before it": (
        EACH + "{{ m.role }}: {{ m.content }} {{ eos_token }}" + "{% endfor %}",
        ["<|eos|>"],
    ),
    "an end only where another turn follows": (
        SYSTEM
        + EACH
        + "<|im_start|>{{ m.role }}\n{{ m.content }}{% if not loop.last %}<|im_end|>\n{% endif %}"
        + ASK
        + "<|im_end|>\n<|im_start|>assistant\n{% endif %}",
        ["<|im_end|>", "<|eos|>"],
    ),
    "the same without a prompt for the assistant": (
        EACH
        + "{% if m.role == 'user' %}[INST]{{ m.content }}{% else %}{{ m.content }}"
        + "{% if not loop.last %}</s>{% endif %}{% endif %}{% endfor %}",
        ["</s>", "<|eos|>"],
    ),
    "no end: the next turn's first token stops, and is no end": (NO_END, ["<|eos|>", "<|user|>"]),
    "no end, no prompt for the assistant": (
        EACH + "{% if m.role == 'user' %}[INST]{% endif %}{{ m.content }}{% endfor %}",
        ["<|eos|>", "[INST]"],
    ),
    "one end for the conversation, another between its turns": (
        EACH
        + "<|im_start|>{{ m.role }}\n{{ m.content }}"
        + "{% if loop.last and m.role == 'assistant' %}<|return|>{% else %}<|im_end|>{% endif %}"
        + ASK
        + "<|im_start|>assistant\n{% endif %}",
        ["<|return|>", "<|eos|>"],
    ),
    "plain text": (EACH + "### {{ m.role }}:\n{{ m.content }}\n\n" + "{% endfor %}", ["<|eos|>"]),
    "nothing at all": (EACH + "{{ m.content }}{% endfor %}", ["<|eos|>"]),
    "a block for the trained part": (
        EACH
        + "<|im_start|>{{ m.role }}\n{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n"
        + ASK
        + "<|im_start|>assistant\n{% endif %}",
        ["<|im_end|>", "<|eos|>"],
    ),
    "an assistant's message may not be the last": (
        "{% if messages[-1].role != 'user' %}{{ raise_exception('the user speaks last') }}"
        "{% endif %}" + CHATML,
        ["<|im_end|>", "<|eos|>"],
    ),
    "one question and one answer alone": (
        "{% if messages | length > 2 %}{{ raise_exception('too long') }}{% endif %}" + CHATML,
        ["<|im_end|>", "<|eos|>"],
    ),
    "questions alone": (
        EACH + "{% if m.role != 'user' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}"
        "{% endfor %}",
        ["<|eos|>"],
    ),
    "no template": (None, ["<|eos|>"]),
}


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("name", ENDS)
def test_the_token_that_the_template_writes_after_a_reply_stops_and_is_learnt(
    tmp_path, name, special
):
    """Whether the tokenizer calls its tokens special or only added them; no blank is one."""
    template, expected = ENDS[name]
    student = reloaded(template_student(template, special=special), tmp_path)
    assert student.tokenizer.convert_ids_to_tokens(list(student.stop_ids)) == expected
    assert student.completion_ids("a b")[-1] == student.stop_ids[0]


def test_a_template_that_names_the_end_needs_no_end_token_of_the_tokenizer(tmp_path):
    student = template_student(CHATML)
    student.tokenizer.eos_token = None
    assert (
        reloaded(student, tmp_path).tokenizer.convert_tokens_to_ids("<|im_end|>")
        == (load_student(tmp_path, device="cpu").stop_ids[0])
    )
    student.tokenizer.chat_template = None
    with pytest.raises(ValueError, match="end token"):
        reloaded(student, tmp_path / "bare")


@pytest.fixture(scope="module")
def qwen_base(tokenizer_dir, tmp_path_factory):
    """As the base models of Qwen2.5 come: ChatML, but <|endoftext|> as the end token."""
    folder = random_qwen(tokenizer_dir, tmp_path_factory.mktemp("base") / "student")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.save_pretrained(folder)
    for file in ("config.json", "generation_config.json"):
        settings = json.loads((folder / file).read_text(encoding="utf-8"))
        (folder / file).write_text(
            json.dumps(settings | {"eos_token_id": END_OF_TEXT}), encoding="utf-8"
        )
    return folder


def test_a_base_model_stops_where_its_template_ends_a_turn(qwen_base):
    student = load_student(qwen_base, device="cpu")
    assert student.stop_ids == (END_OF_TURN, END_OF_TEXT)
    assert student.completion_ids("66")[-1] == END_OF_TURN
    measured = evaluate(student, problems(8), samples=4, temperature=1.0, max_new_tokens=16)
    cut = sum(map(sum, measured.truncated))
    assert cut < 8  # of 32: one completion in four ends at every token


# What stands in a prompt


@pytest.mark.parametrize("added", ["$A <|eos|>", "<|im_start|> $A <|eos|>", "$A </s> <|eos|>"])
def test_a_plain_prompt_does_not_end_with_what_the_tokenizer_adds(tmp_path, added):
    student = template_student(None)
    names = [name for name in added.split() if name != "$A"]
    tokens = [(name, student.tokenizer.convert_tokens_to_ids(name)) for name in names]
    bare = student.prompt_ids("a b")
    student.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=added, special_tokens=tokens
    )
    assert student.tokenizer("a")["input_ids"][-1] == student.tokenizer.eos_token_id
    front = [tokens[0][1]] if added.startswith("<|im_start|>") else []
    assert student.prompt_ids("a b") == [*front, *bare]
    assert student.message_ids([{"content": "a"}, {"content": "b"}], "\n") == [
        *front, *student.tokenizer("a\n\nb\n", add_special_tokens=False)["input_ids"],
    ]  # fmt: skip


def test_add_eos_token_reaches_no_prompt(tokenizer_dir, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    tokenizer.chat_template = None
    student = Student(None, tokenizer, (END_OF_TEXT,), END_OF_TEXT, True)
    bare = student.prompt_ids("What is 1 + 1?")
    tokenizer.add_eos_token = True
    tokenizer.update_post_processor()
    assert tokenizer("a")["input_ids"][-1] == tokenizer.eos_token_id
    assert student.prompt_ids("What is 1 + 1?") == bare


def test_settings_of_the_template_reach_both_prompts_and_are_saved(tmp_path):
    template = CHATML + "{% if enable_thinking is false %} b c{% endif %}"
    student = reloaded(template_student(template), tmp_path / "asis")
    assert student.chat_template_kwargs == {}
    assert not student.tokenizer.decode(student.prompt_ids("a")).endswith(" b c")
    told = {"enable_thinking": False}
    student = load_student(tmp_path / "asis", device="cpu", chat_template_kwargs=told)
    again = reloaded(student, tmp_path / "again")
    for made in (student, again):
        assert made.chat_template_kwargs == told
        for strategy in ("", "b c"):
            text = made.tokenizer.decode(made.prompt_ids("a", strategy))
            assert text.endswith(" b c")
    # What is given anew takes the place of what was saved.
    on = load_student(
        tmp_path / "again", device="cpu", chat_template_kwargs={"enable_thinking": True}
    )
    assert not on.tokenizer.decode(on.prompt_ids("a")).endswith(" b c")


@pytest.mark.parametrize(
    "template, given, told",
    [
        (CHATML, {"enable_thinkin": False}, "no setting 'enable_thinkin'"),
        (CHATML, {"messages": []}, "no setting 'messages'"),
        (CHATML, {"add_generation_prompt": False}, "no setting 'add_generation_prompt'"),
        (CHATML, {"date_string": "1 Jan 2025"}, "no setting 'date_string'"),
        (None, {"enable_thinking": False}, "no chat template"),
        (LLAMA_3, {"date_string": "tomorrow"}, "date_string must be a date such as '26 Jul 2024'"),
        (LLAMA_3, {"date_string": 3}, "date_string must be a date such as '26 Jul 2024'"),
        (LLAMA_3, {"date_string": {"2024"}}, "must be valid as JSON"),
        ("{{ share }}" + CHATML, {"share": float("nan")}, "must be valid as JSON"),
        (CHATML, ["enable_thinking"], "must be a dict"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(tmp_path, template, given, told):
    save_student(template_student(template), tmp_path)
    with pytest.raises(ValueError, match="can't be used as a student") as caught:
        load_student(tmp_path, device="cpu", chat_template_kwargs=given)
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "template, told",
    [
        ("{% for m in messages %}", "can't write a user message alone"),
        ("{{ messages[0].parts[0] }}", "can't write a user message alone"),
        ("{{ raise_exception('give a system prompt first') }}", "give a system prompt first"),
        ("{{ messages[1].content }}", "can't write a user message alone"),
        ("Hello", "leaves out the text"),
        (EACH + "{% for p in m.content %}{{ p['text'] }}{% endfor %}{% endfor %}", "leaves out"),
        ({"tools": CHATML}, ""),
    ],
)
def test_a_template_that_can_not_write_the_prompts_is_refused(tmp_path, template, told):
    with pytest.raises(ValueError, match="can't be used as a student") as caught:
        reloaded(template_student(template), tmp_path)
    assert told in str(caught.value) and "\n" not in str(caught.value)


# The date


@pytest.fixture
def set_clock(monkeypatch):
    """Makes chat templates believe that it is another day."""

    def at(*day: int) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime(*day)

        monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)

    return at


DATED = {
    "Llama 3.2": (LLAMA_3, "Today Date: 26 Jul 2024\n"),
    "SmolLM3": (
        "{% set today = strftime_now('%d %B %Y') %}Today: {{ today }}\n" + NO_END,
        "Today: 26 July 2024\n",
    ),
    "gpt-oss, in a macro": (
        "{%- macro system() -%}Current date: {{ strftime_now('%Y-%m-%d') }}{%- endmacro -%}"
        "{{ system() }}\n" + NO_END,
        "Current date: 2024-07-26\n",
    ),
    "a year to count with": (
        "{{ strftime_now(\"%Y\") | int - 1 }}, {{ strftime_now('%A, %B %-d') }}\n" + NO_END,
        "2023, Friday, July 26\n",
    ),
    "the format by its name, and a day in one word": (
        "{{ strftime_now(format='%F') }}\n" + NO_END,
        "2024-07-26\n",
    ),
    "the clock handed on": (
        "{% macro at(clock) %}{{ clock('%d.%m.%y') }}{% endmacro %}{{ at(strftime_now) }}\n"
        + NO_END,
        "26.07.24\n",
    ),
    "the time of day": ("It is {{ strftime_now('%H:%M') }}.\n" + NO_END, "It is 00:00.\n"),
}


@pytest.mark.parametrize("name", DATED)
def test_the_date_in_a_prompt_is_the_same_tomorrow(tmp_path, set_clock, name):
    template, expected = DATED[name]
    messages = [{"role": "user", "content": "a"}]
    student, live = template_student(template), []
    for day in ((2031, 5, 6, 7, 8), (2032, 12, 31, 23, 59)):
        set_clock(*day)
        loaded = reloaded(student, tmp_path / str(day[0]))
        live.append(loaded.tokenizer.apply_chat_template(messages, tokenize=False))
        text = loaded.tokenizer.decode(loaded.message_ids(messages, ""))
        assert loaded.tokenizer.chat_template == template
        assert loaded.chat_template_kwargs == {"date_string": "26 Jul 2024"}
        ids = loaded.tokenizer(f"{expected}<|user|>a<|assistant|>")["input_ids"]
        assert loaded.message_ids(messages, "") == ids, text
    assert live[0] != live[1]  # the clock did move


def test_another_date_may_be_given_and_stays(tmp_path):
    save_student(template_student(DATED["gpt-oss, in a macro"][0]), tmp_path / "base")
    given = {"date_string": "03 Feb 2025"}
    student = load_student(tmp_path / "base", device="cpu", chat_template_kwargs=given)
    ids = student.tokenizer("Current date: 2025-02-03\n")["input_ids"]
    for loaded in (student, reloaded(student, tmp_path / "saved")):
        assert loaded.prompt_ids("a")[: len(ids)] == ids


def test_a_run_repeats_tomorrow_and_keeps_its_date(tmp_path, set_clock):
    student = copy_of(pretrained_student())
    student.tokenizer.chat_template = "{{ strftime_now('%d') }}" + student.tokenizer.chat_template
    save_student(student, tmp_path / "base")
    for day in (3, 4):
        set_clock(2031, 5, day)
        loaded = load_student(tmp_path / "base", device="cpu")
        train(loaded, problems(4), config(steps=2, out=str(tmp_path / str(day))))
    logs = [read_rows(tmp_path / day / "metrics.jsonl") for day in "34"]
    assert logs[0] == logs[1]
    told = json.loads((tmp_path / "3" / "config.json").read_text(encoding="utf-8"))[
        "chat_template_kwargs"
    ]
    assert told == {"date_string": "26 Jul 2024"}
    assert load_student(tmp_path / "3" / "student", device="cpu").chat_template_kwargs == told


# Tokens without an embedding


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.add_tokens(["zebra"]),
        lambda t: (
            t.add_tokens([AddedToken("<|image|>", special=True)])
            and setattr(t, "pad_token", "<|image|>")
        ),
        lambda t: (
            t.add_tokens([AddedToken("<|image|>", special=True)])
            and setattr(t, "chat_template", "<|image|>" + NO_END)
        ),
        lambda t: t.add_tokens([f"word{i}" for i in range(99)]),
    ],
    ids=["a word", "the padding", "in the template", "another tokenizer"],
)
def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path, change):
    student = template_student(NO_END)
    change(student.tokenizer)
    with pytest.raises(ValueError, match="larger than the model's embedding") as caught:
        reloaded(student, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_end_token_beyond_the_embedding_is_refused(tmp_path):
    student = template_student(None)
    student.tokenizer.eos_token = None
    student.model.config.eos_token_id = 99_999  # saved with the configuration
    save_student(student, tmp_path)
    with pytest.raises(ValueError, match="larger than the model's embedding .* '99999'"):
        load_student(tmp_path, device="cpu")


def test_a_special_token_that_nothing_uses_may_lack_an_embedding_until_a_text_holds_it(tmp_path):
    """Gemma 3's smallest model comes with the token for images, and without its embedding."""
    student = template_student(NO_END)
    student.tokenizer.add_tokens([AddedToken("<|image|>", special=True)])
    loaded = reloaded(student, tmp_path)
    refuse_unknown_words(loaded, ["a b c"])
    with pytest.raises(ValueError, match=r"'<\|image\|>', but the model has no embedding for it"):
        refuse_unknown_words(loaded, ["a b", "a <|image|> c"])


def test_config_and_student_must_agree_on_the_templates_settings():
    student = pretrained_student()
    with pytest.raises(ValueError, match="load_student"):
        train(student, problems(4), config(chat_template_kwargs={"enable_thinking": False}))
    assert torch.isfinite(next(student.model.parameters())).all()

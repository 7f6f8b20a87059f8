"""Chat messages as tokens: the chat template, its settings, and the token that ends a turn.

A chat template is a program that comes with the tokenizer. Its output depends on its settings
(`enable_thinking`) and on the clock. We fix both when a student is loaded; the tokenizer stores
them and saves them with itself. To find the token that ends a turn, we look at the template's
output after an assistant's message.
"""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

Messages = Sequence[dict]  # {"role": ..., "content": ...}

# The fixed date that templates see; Llama 3's templates use it as their own fallback.
PROMPT_DATE = "26 Jul 2024"
_DATE_FORM = "%d %b %Y"
_CLOCK = "strftime_now"  # the function through which templates read the time in transformers
_DIRECTIVES = [f"%{letter}" for letter in "aAwdbBmyYHIpMSfzZjUWcxX"]

# Texts that no template contains.
_QUESTION, _REPLY, _NEXT = "Firstquestion", "Onereply", "Nextquestion"


def template_settings(tokenizer: PreTrainedTokenizerBase) -> dict:
    """The settings that the chat template gets besides the messages."""
    return tokenizer.init_kwargs.get("chat_template_kwargs") or {}


def set_template(tokenizer: PreTrainedTokenizerBase, given: Mapping | None = None) -> None:
    """Add settings for the chat template to those that the tokenizer was saved with.

    A template that reads the clock gets `date_string`, the fixed date that it will see. Raises
    ValueError if the template doesn't have a given setting or can't write our prompts.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"chat_template_kwargs must be a dict, not {given!r}")
    if not tokenizer.chat_template:
        if given:
            raise ValueError("its tokenizer has no chat template: omit chat_template_kwargs")
        return
    template = tokenizer.get_chat_template()
    settings = template_settings(tokenizer) | dict(given or {})
    own = {"messages", *inspect.signature(tokenizer.apply_chat_template).parameters}
    known = set(re.findall(r"\w+", template)) - own
    if _CLOCK in template:
        settings.setdefault("date_string", PROMPT_DATE)
        known.add("date_string")
    if unknown := [name for name in given or () if name not in known]:
        raise ValueError(f"its chat template has no setting {unknown[0]!r} (chat_template_kwargs)")
    try:
        settings = json.loads(json.dumps(settings, allow_nan=False))  # as they will be saved
    except (TypeError, ValueError) as error:
        raise ValueError(f"chat_template_kwargs must be valid as JSON ({error})") from None
    if settings:
        tokenizer.init_kwargs["chat_template_kwargs"] = settings
    try:
        written = render(tokenizer, [{"role": "user", "content": _QUESTION}])
    except Exception as error:  # a template is third-party code: any error
        raise ValueError(f"its chat template can't write a user message alone ({error})") from error
    if _QUESTION not in written:
        raise ValueError("its chat template leaves out the text of a user's message")


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, ask: bool = True) -> str:
    """The messages as written by the chat template; `ask` opens the assistant's turn."""
    settings = template_settings(tokenizer)
    template = tokenizer.get_chat_template()
    if _CLOCK in template:
        template = _standing_clock(settings.get("date_string", PROMPT_DATE)) + template
    return tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=ask, **settings
    )


def message_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Messages, plain_ending: str
) -> list[int]:
    """Token ids of a prompt: by the chat template, else as plain text plus `plain_ending`."""
    if tokenizer.chat_template:
        return tokenizer(render(tokenizer, messages), add_special_tokens=False)["input_ids"]
    text = "\n\n".join(message["content"] for message in messages) + plain_ending
    ids = tokenizer(text)["input_ids"]
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    # Some tokenizers append an end token, which a prompt must not have.
    ends = range(len(plain), len(ids))
    return ids[: next((end for end in ends if ids[end - len(plain) : end] == plain), len(ids))]


def stop_and_pad(
    tokenizer: PreTrainedTokenizerBase, configs: Sequence[PreTrainedConfig]
) -> tuple[tuple[int, ...], int]:
    """(stop token ids, pad id); the token that ends a turn in the chat template comes first.

    Then the tokenizer's end token and those that the model's `configs` name. If the template has no
    token that ends a turn, the one that opens the next turn comes last. Raises ValueError if there
    is no stop token at all.
    """
    closing, opening = _turn_ends(tokenizer)
    ids = [closing, tokenizer.eos_token_id]
    for config in configs:
        named = getattr(config, "eos_token_id", None)
        ids += named if isinstance(named, list) else [named]
    stop_ids = tuple(dict.fromkeys(i for i in (*ids, opening) if isinstance(i, int)))
    if not stop_ids:
        raise ValueError("the tokenizer names no end token: set eos_token in its configuration")
    pad_id = tokenizer.pad_token_id
    return stop_ids, stop_ids[0] if pad_id is None else pad_id


def refuse_larger_than_embedding(
    tokenizer: PreTrainedTokenizerBase, rows: int, used: Sequence[int]
) -> None:
    """Raise ValueError if a prompt may contain a token beyond the embedding's `rows`.

    We allow special tokens that are neither `used` nor in the template: Gemma 3's smallest model
    lacks the one for images. `refuse_unknown_words` refuses texts that contain them.
    """
    named = {*used, tokenizer.bos_token_id, tokenizer.eos_token_id}
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special} - named
    beyond = [
        token
        for token, index in tokenizer.get_vocab().items()
        if index >= rows and (index not in special or token in template)
    ]
    beyond += [str(index) for index in used if index >= rows and not beyond]
    if beyond:
        raise ValueError(
            f"its tokenizer is larger than the model's embedding of {rows} rows: {len(beyond)} "
            f"tokens, such as {beyond[0]!r}, have no row; use the tokenizer that belongs to the "
            "model, or save the model after resize_token_embeddings"
        )


def _turn_ends(tokenizer: PreTrainedTokenizerBase) -> tuple[int | None, int | None]:
    """The template's token after an assistant's message: (ends the turn, opens the next turn).

    We look at the end of the conversation first, because gpt-oss writes another token between
    turns, which also ends its reasoning. Some templates end a turn only if another follows, and
    some never do. The model then writes the first token of the next turn, so it stops there.
    """
    if not tokenizer.chat_template:
        return None, None
    question = {"role": "user", "content": _QUESTION}
    turns = [question, {"role": "assistant", "content": _REPLY}]
    _, found, after = _try_render(tokenizer, turns).rpartition(_REPLY)
    if found and (marks := _marks(tokenizer, after)):
        return marks[0], None
    written = _try_render(tokenizer, [*turns, {"role": "user", "content": _NEXT}])
    _, found, after = written.rpartition(_REPLY)
    if not found or not (marks := _marks(tokenizer, after.partition(_NEXT)[0])):
        return None, None
    # Before the first question, one more turn was opened than ended.
    before = _marks(tokenizer, written.partition(_QUESTION)[0])
    often = before.count(marks[0])
    ends = often == 0 or often < max(map(before.count, marks))
    return (marks[0], None) if ends else (None, marks[0])


def _try_render(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> str:
    try:
        return render(tokenizer, messages, ask=False)
    except Exception:  # some templates refuse such a conversation
        return ""


def _marks(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens that delimit parts of a text: special ones, and added ones such as <|im_end|>.

    Words, numbers and whitespace can be added tokens too, but they delimit nothing.
    """
    marks = set(tokenizer.all_special_ids) - ({tokenizer.unk_token_id} - {tokenizer.eos_token_id})
    for index, token in tokenizer.added_tokens_decoder.items():
        if re.fullmatch(r"(?=.*\w)(?=.*[^\w\s])\S+", token.content):
            marks.add(index)
    return [i for i in tokenizer(text, add_special_tokens=False)["input_ids"] if i in marks]


@lru_cache
def _standing_clock(date: str) -> str:
    """Jinja code that replaces the template's clock by a fixed date.

    Recent versions of transformers pass no functions to a template, so a setting can't do this.
    """
    try:
        day = datetime.strptime(date, _DATE_FORM)
    except (TypeError, ValueError):
        raise ValueError(
            f"date_string must be a date such as {PROMPT_DATE!r}, not {date!r}"
        ) from None
    values = {"%-d": str(day.day), "%-m": str(day.month), "%F": f"{day:%Y-%m-%d}"}
    values |= {"%T": f"{day:%H:%M:%S}", "%R": f"{day:%H:%M}"}
    values |= {directive: day.strftime(directive) for directive in _DIRECTIVES}
    replaced = "".join(f".replace({name!r}, {value!r})" for name, value in values.items())
    return f"{{% macro {_CLOCK}(format) %}}{{{{ format{replaced} }}}}{{% endmacro %}}\n"

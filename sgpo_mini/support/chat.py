"""What a tokenizer makes of chat messages: the template and its settings, and where a turn ends.

A chat template is a program that comes with the tokenizer. What it writes depends on its settings
(`enable_thinking`) and on the clock, so both are fixed when a student is loaded, and the tokenizer
carries them from then on, into every folder that it is saved to. Which token ends a turn is found
by looking at what the template writes after an assistant's message.
"""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

Messages = Sequence[dict]  # {"role": ..., "content": ...}

# The day at which the clock of a template stands: Llama 3's templates fall back on it themselves.
PROMPT_DATE = "26 Jul 2024"
_DATE_FORM = "%d %b %Y"
_CLOCK = "strftime_now"  # the function by which transformers lets a template ask for the time
_DIRECTIVES = [f"%{letter}" for letter in "aAwdbBmyYHIpMSfzZjUWcxX"]

# Texts that no template writes by itself.
_QUESTION, _REPLY, _NEXT = "Firstquestion", "Onereply", "Nextquestion"


def template_settings(tokenizer: PreTrainedTokenizerBase) -> dict:
    """What the chat template is given beside the messages."""
    return tokenizer.init_kwargs.get("chat_template_kwargs") or {}


def set_template(tokenizer: PreTrainedTokenizerBase, given: Mapping | None = None) -> None:
    """Give the chat template its settings; those that the tokenizer was saved with stay.

    A template that reads the clock gets `date_string`, the day at which its clock stands from then
    on. Raises ValueError where the template has no such setting, or can't write our prompts.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"chat_template_kwargs must be a dict, not {given!r}")
    if not tokenizer.chat_template:
        if given:
            raise ValueError("its tokenizer has no chat template, so no chat_template_kwargs")
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
        raise ValueError(f"chat_template_kwargs must be what JSON can hold ({error})") from None
    if settings:
        tokenizer.init_kwargs["chat_template_kwargs"] = settings
    try:
        written = render(tokenizer, [{"role": "user", "content": _QUESTION}])
    except Exception as error:  # the template is a program of someone else's
        raise ValueError(f"its chat template takes no message of a user alone ({error})") from error
    if _QUESTION not in written:
        raise ValueError("its chat template leaves out the text of a user's message")


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, ask: bool = True) -> str:
    """The messages through the chat template; `ask` opens the assistant's turn."""
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
    """Token ids of a prompt: through the chat template, else as plain text with `plain_ending`."""
    if tokenizer.chat_template:
        return tokenizer(render(tokenizer, messages), add_special_tokens=False)["input_ids"]
    text = "\n\n".join(message["content"] for message in messages) + plain_ending
    ids = tokenizer(text)["input_ids"]
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    # A tokenizer may add an end token too; the prompt ends with its text.
    ends = range(len(plain), len(ids))
    return ids[: next((end for end in ends if ids[end - len(plain) : end] == plain), len(ids))]


def stop_and_pad(
    tokenizer: PreTrainedTokenizerBase, configs: Sequence[PreTrainedConfig]
) -> tuple[tuple[int, ...], int]:
    """(stop token ids, pad id): first the one that ends a turn in the chat template, then others.

    The others are the tokenizer's end token, those that the model's `configs` name and, last, the
    token that opens the next turn where the template has none that ends one. Raises ValueError
    where there is none at all.
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
    """Raise ValueError if a prompt may hold a token whose id the embedding's `rows` do not reach.

    A special token that is neither `used` nor in the template is let pass: Gemma 3's smallest model
    lacks the one for images. A text that holds it is refused by `refuse_unknown_words`.
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
            f"tokens, such as {beyond[0]!r}, have none; give the tokenizer that belongs to the "
            "model, or save the model after resize_token_embeddings"
        )


def _turn_ends(tokenizer: PreTrainedTokenizerBase) -> tuple[int | None, int | None]:
    """The token that the template writes after an assistant's message: (it ends, it opens) a turn.

    The end of the conversation shows it best: between two turns gpt-oss writes another token, which
    also ends its thoughts. Some templates end a turn only when another follows, and some never do.
    Then the next turn's first token is what the model goes on with: it stops too, but is no end.
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
    # Where the first question stands, one more turn has been opened than ended.
    before = _marks(tokenizer, written.partition(_QUESTION)[0])
    often = before.count(marks[0])
    ends = often == 0 or often < max(map(before.count, marks))
    return (marks[0], None) if ends else (None, marks[0])


def _try_render(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> str:
    try:
        return render(tokenizer, messages, ask=False)
    except Exception:  # a template may refuse such a conversation
        return ""


def _marks(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text that mark its parts: special ones, and added ones such as <|im_end|>.

    Words, numbers and blanks can be added tokens too, and are no marks.
    """
    marks = set(tokenizer.all_special_ids) - ({tokenizer.unk_token_id} - {tokenizer.eos_token_id})
    for index, token in tokenizer.added_tokens_decoder.items():
        if re.fullmatch(r"(?=.*\w)(?=.*[^\w\s])\S+", token.content):
            marks.add(index)
    return [i for i in tokenizer(text, add_special_tokens=False)["input_ids"] if i in marks]


@lru_cache
def _standing_clock(date: str) -> str:
    """Jinja that puts a clock which stands at a day in the place of the template's own.

    Recent transformers hand no function to a template, so that it can't be passed as a setting.
    """
    try:
        day = datetime.strptime(date, _DATE_FORM)
    except (TypeError, ValueError):
        raise ValueError(
            f"date_string must be a day such as {PROMPT_DATE!r}, not {date!r}"
        ) from None
    values = {"%-d": str(day.day), "%-m": str(day.month), "%F": f"{day:%Y-%m-%d}"}
    values |= {"%T": f"{day:%H:%M:%S}", "%R": f"{day:%H:%M}"}
    values |= {directive: day.strftime(directive) for directive in _DIRECTIVES}
    replaced = "".join(f".replace({name!r}, {value!r})" for name, value in values.items())
    return f"{{% macro {_CLOCK}(format) %}}{{{{ format{replaced} }}}}{{% endmacro %}}\n"

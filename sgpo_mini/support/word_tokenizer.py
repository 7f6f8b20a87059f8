"""The word-level tokenizer of a small new student, made from the words of its texts."""

import re
from collections.abc import Iterable

from tokenizers import AddedToken
from transformers import Qwen2Tokenizer

_SPECIAL = ["<pad>", "<|end|>", "<|user|>", "<|assistant|>"]
_PIECES = re.compile(r" ?[^\W\d_]+|\d+| [^\w\s] |#+ |[^\w\s]|\s")
_SPACED_PIECES = re.compile(r" ?[^\W\d_]+| [^\w\s] |#+ | ?\d+|[^\w\s]|\s")
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def word_tokenizer(texts: Iterable[str], spaced_numbers: bool = False) -> Qwen2Tokenizer:
    """One token per word with its leading space, per number and per operator.

    With `spaced_numbers` a number takes its leading space too, so that it follows its word at once.

    transformers 5 loads the tokenizer of any Qwen2 folder as a Qwen2Tokenizer, which splits numbers
    into digits. So we make the words added tokens: these are matched first, the longest one from
    the left, and decode to themselves.
    """
    pattern = _SPACED_PIECES if spaced_numbers else _PIECES
    pieces = {piece for text in texts for piece in pattern.findall(text)} - {" "}
    ordered = sorted(pieces, key=lambda p: (p.isdigit(), int(p) if p.isdigit() else 0, p))
    blank = "\u0120"  # how byte-level BPE writes " "
    vocabulary = {word: index for index, word in enumerate([*_SPECIAL, blank, *ordered])}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        pad_token="<pad>",
        unk_token="<pad>",  # never used: unknown text produces no token
        eos_token="<|end|>",
        extra_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=_CHAT_TEMPLATE,
    )
    tokenizer.add_tokens(
        [AddedToken(word, normalized=False, single_word=word.isdigit()) for word in ordered]
    )
    return tokenizer

"""What a teacher is: an object that replies to prompts, and the two errors that it may raise.

Failures come in three kinds. The teacher gives no answer (`Unanswered`: ask again later), it
rejects one request (`NotAccepted`: that request has failed), or it would reject every request
(RuntimeError or ValueError: stop the run).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

LONGEST_REPLY = 20_000  # characters that are read of a reply, without its reasoning

Prompt = list[dict]  # chat messages

_REASONING = re.compile(r"(?s)\A.*</think(?:ing)?>")


class Unanswered(RuntimeError):
    """The teacher gave no answer in any try; it may answer later."""


class NotAccepted(ValueError):
    """The teacher rejected this one request, for example because it is too long."""


@dataclass(frozen=True)
class Reply:
    """A teacher's reply: its text without the reasoning, its tokens, and whether it was cut off.

    `tokens` counts prompt and reply; it is 0 if the server does not report it. `cut` means that the
    reply reached the limit on new tokens.
    """

    text: str
    tokens: int = 0
    cut: bool = False

    def __post_init__(self) -> None:
        text = _REASONING.sub("", self.text).strip()[: LONGEST_REPLY + 1]
        # JSON can hold half a surrogate pair, which can't be written to a file.
        object.__setattr__(self, "text", text.encode("utf-8", "replace").decode())


class Teacher(Protocol):
    """What `extract_strategies` needs of a teacher: a name, a limit on `parallel`, and replies.

    `replies` yields one reply for each prompt, in order, and raises NotAccepted in place of the
    first reply that it can't get. A teacher may ignore `seed`. It calls `pause(seconds)` before a
    request and between two tries; `pause` may raise an exception to stop it.
    """

    name: str
    most_parallel: int

    def replies(
        self,
        prompts: Sequence[Prompt],
        *,
        temperature: float,
        max_new_tokens: int,
        seed: int,
        pause: Callable[[float], object],
    ) -> Iterator[Reply]: ...

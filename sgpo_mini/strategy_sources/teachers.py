"""Teachers: a strong model behind a server or in a folder, and how it is asked.

A teacher gives the replies to a few prompts, one after another. What can go wrong is of three
kinds, and each leads elsewhere: no answer comes (`Unanswered`: ask again another day), one request
is not accepted (`NotAccepted`: that request has failed), or no request ever will be (RuntimeError
or ValueError: stop).
"""

import email.utils
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import torch
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

from ..rollout import sample
from ..student import compute_dtype, load_student

KEY_VARIABLE = "SGPO_TEACHER_KEY"
LONGEST_REPLY = 20_000  # characters of a reply that are looked at, a reasoning part not counted
LONGEST_WAIT = 300.0  # seconds; a server that asks for more has given no answer

Prompt = list[dict]  # chat messages

_THOUGHTS = re.compile(r"(?s)\A.*</think(?:ing)?>")
_NO_SUCH_THING = {401, 402, 403, 404, 405}  # key, credit, model or address: for all requests
_LATER = {408, 409, 425, 429}  # and every 5xx


class Unanswered(RuntimeError):
    """No answer came, however often the teacher was asked; it may come another time."""


class NotAccepted(ValueError):
    """The teacher does not take this one request, such as one that is too long for it."""


@dataclass(frozen=True)
class Reply:
    """What a teacher wrote, without a reasoning part; the tokens it took; whether it was cut off.

    `tokens` counts prompt and reply, 0 where the server does not tell.
    """

    text: str
    tokens: int = 0
    cut: bool = False

    def __post_init__(self) -> None:
        text = _THOUGHTS.sub("", self.text).strip()[: LONGEST_REPLY + 1]
        # JSON can carry half a character, which no file takes.
        object.__setattr__(self, "text", text.encode("utf-8", "replace").decode())


class Teacher(Protocol):
    """What `extract_strategies` needs of a teacher: a name, a limit on `parallel`, replies.

    `replies` gives one reply a prompt, in their order, and raises NotAccepted in place of the first
    that it does not get. `seed` may be used or not; `pause(seconds)` is called before a request and
    between two tries, and may raise to stop.
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


def open_teacher(
    name: str,
    model: str = "",
    *,
    timeout: float = 120.0,
    chat_template_kwargs: dict | None = None,
) -> Teacher:
    """A teacher by its name: the URL of a server, a folder, or a model's name on the Hub.

    `model` is the name under which a server knows the model; `timeout`, in seconds, is how long a
    server may be silent; `chat_template_kwargs` are for a model that runs here. Raises ValueError
    where it can't be used.
    """
    if name.startswith(("http://", "https://")):
        return ServerTeacher(name, model, timeout=timeout)
    if "://" in name:
        raise ValueError(f"the teacher's URL must begin with http:// or https://, not {name!r}")
    if model:
        raise ValueError(f"a model's name (--teacher-model) is for servers, and {name!r} is no URL")
    return LocalTeacher(name, chat_template_kwargs)


class ServerTeacher:
    """A server that speaks the OpenAI chat protocol: vLLM, llama.cpp, Ollama, TGI, a hosted model.

    `url` is its base URL (http://localhost:8000/v1). The key is read from the environment variable
    SGPO_TEACHER_KEY alone, and is blotted out wherever the server repeats it. Time-outs, lost
    connections, answers that are no chat completion, 429 and 5xx are tried again, `tries` times in
    all, after `wait` seconds, twice that, and so on, or as long as Retry-After says. Raises
    ValueError where the URL or the key can't be used.
    """

    most_parallel = 256

    def __init__(
        self, url: str, model: str = "", *, timeout: float = 120.0, tries: int = 5, wait: float = 1
    ) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "the teacher's URL must be the plain base URL, such as http://localhost:8000/v1; "
                f"a key belongs into the environment variable {KEY_VARIABLE}"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the teacher's URL {url!r} names no server")
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError(f"{KEY_VARIABLE} holds what no key has: a blank or an odd character")
        # As part of a longer word, a short key may be an accident ("test" in "tested").
        word = rf"(?<!\w){re.escape(key)}(?!\w)" if len(key) < 8 else re.escape(key)
        self._key = re.compile(word) if key else None
        # With no key at all the client would send the user's own Hub token to this server.
        self._client = InferenceClient(base_url=url, api_key=key or "none", timeout=timeout)
        self.url, self.model, self.name = url, model, model or url
        self.timeout, self.tries, self.wait = timeout, tries, wait

    def replies(
        self,
        prompts: Sequence[Prompt],
        *,
        temperature: float,
        max_new_tokens: int,
        seed: int = 0,
        pause: Callable[[float], object] = time.sleep,
    ) -> Iterator[Reply]:
        """The replies, one request after the other; `seed` is not sent, as not all servers take it.

        Raises Unanswered, NotAccepted, or RuntimeError where no request can succeed.
        """
        for prompt in prompts:
            pause(0)
            yield self._reply(prompt, temperature, max_new_tokens, pause)

    def _reply(
        self, prompt: Prompt, temperature: float, max_new_tokens: int, pause: Callable
    ) -> Reply:
        for attempt in range(1, self.tries + 1):
            try:
                output = self._client.chat_completion(
                    prompt,
                    model=self.model or None,
                    temperature=temperature,
                    max_tokens=max_new_tokens,
                )
                return self._read(output)
            except Exception as error:  # the client's and its HTTP library's: many kinds
                reason, seconds = self._judge(error)
            if attempt == self.tries or (seconds or 0.0) > LONGEST_WAIT:
                raise Unanswered(f"{reason}, asked {attempt} times")
            if seconds is None:  # a little apart, or all requests would come back at once
                seconds = self.wait * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
            pause(seconds)
        raise AssertionError("unreachable: tries is at least 1")

    def _read(self, output) -> Reply:
        choice = output.choices[0]
        text = choice.message.content or ""
        if not isinstance(text, str):
            raise TypeError("the content of a message must be text")
        used = getattr(output.usage, "total_tokens", 0) if output.usage else 0
        tokens = used if isinstance(used, int) else 0
        return Reply(self._without_key(text), tokens, choice.finish_reason == "length")

    def _judge(self, error: Exception) -> tuple[str, float | None]:
        """(why no answer came, seconds to wait where the server says) if asking again may help."""
        if isinstance(error, OfflineModeIsEnabled):
            raise RuntimeError(
                "HF_HUB_OFFLINE is set, so huggingface_hub makes no request, not even to a teacher "
                "on this machine; unset it"
            ) from None
        # huggingface_hub 1 passes on the HTTP library's own error, which is no TimeoutError.
        if isinstance(error, TimeoutError) or type(error).__name__ == "ReadTimeout":
            return f"nothing came for {self.timeout:g} s", None
        response = _response_of(error)
        if response is None:
            if isinstance(error, HTTPError):  # refused, reset, cut short
                told = self._without_key(" ".join(str(error).split()))[:200]
                return f"there is no connection ({told or type(error).__name__})", None
            return f"the server's answer is no chat completion ({type(error).__name__})", None
        status = response.status_code
        told = self._without_key(" ".join(_words_of(error, response).split()))
        reason = f"HTTP status {status}" + (f" ({told[:200]})" if told else "")
        if status in _LATER or status >= 500:
            return reason, _retry_after(response.headers.get("retry-after"))
        if status in _NO_SUCH_THING:
            raise RuntimeError(
                f"the teacher at {self.url} refuses: {reason}; check the URL, the model's name "
                f"(--teacher-model) and the key in {KEY_VARIABLE}"
            ) from None
        raise NotAccepted(f"the teacher does not accept the request: {reason}") from None

    def _without_key(self, text: str) -> str:
        return self._key.sub(f"[{KEY_VARIABLE}]", text) if self._key else text


class LocalTeacher:
    """A causal language model from a folder or the Hub, run here, one batch of prompts at a time.

    The weights are held in the compute dtype (bfloat16 on a recent GPU). Raises ValueError where
    the name leads nowhere.
    """

    most_parallel = 1

    def __init__(self, name: str, chat_template_kwargs: dict | None = None) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.student = load_student(
                name, device="cpu", chat_template_kwargs=chat_template_kwargs
            )
        except ValueError as error:
            raise ValueError(f"the teacher can't be loaded: {error}") from error
        self.student.compute_dtype = compute_dtype(device)
        self.student.model.to(device, self.student.compute_dtype).eval()
        self.name = name

    def replies(
        self,
        prompts: Sequence[Prompt],
        *,
        temperature: float,
        max_new_tokens: int,
        seed: int = 0,
        pause: Callable[[float], object] = time.sleep,
    ) -> Iterator[Reply]:
        """The replies to one batch of prompts, equal for equal prompts and seed.

        Raises NotAccepted in place of the first that a prompt leaves the model no room for.
        """
        pause(0)
        config = self.student.causal_model.config.get_text_config()
        longest = getattr(config, "max_position_embeddings", None) or 2**31
        ids = [self._ids(prompt) for prompt in prompts]
        too_long = next((place for place, prompt in enumerate(ids) if len(prompt) >= longest), None)
        yield from self._sample(ids[:too_long], longest, temperature, max_new_tokens, seed)
        if too_long is not None:
            count = len(ids[too_long])
            raise NotAccepted(f"a prompt of {count} tokens is too long for the teacher")

    def _sample(
        self, ids: list[list[int]], longest: int, temperature: float, max_new_tokens: int, seed: int
    ) -> Iterator[Reply]:
        if not ids:
            return
        room = longest - max(map(len, ids))
        devices = [self.student.device] if self.student.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            drawn = sample(
                self.student,
                ids,
                1,
                max_new_tokens=min(max_new_tokens, room),
                temperature=temperature,
            )
        lengths = drawn.mask.sum(dim=1).int().tolist()
        cuts = drawn.truncated.tolist()
        for prompt, text, length, cut in zip(ids, drawn.texts, lengths, cuts, strict=True):
            yield Reply(text, len(prompt) + length, cut)

    def _ids(self, prompt: Prompt) -> list[int]:
        return self.student.message_ids(prompt, "\n\n")


def _response_of(error: BaseException | None):
    """The HTTP response behind an error: the client may stumble over an odd one itself."""
    while error is not None:
        if (response := getattr(error, "response", None)) is not None:
            return response
        error = error.__context__
    return None


def _words_of(error: Exception, response) -> str:
    """What the server says of an error; "" where it says nothing."""
    if told := getattr(error, "server_message", None):
        return str(told)
    try:  # the client does not look where older vLLM servers and FastAPI put it
        body = response.json()
        return str(body.get("message") or body.get("detail") or "")
    except (ValueError, AttributeError, RuntimeError):  # no JSON, no object, nested too deep
        return ""


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, a number or a date; None where it is neither."""
    if value is None:
        return None
    try:
        return max(float(value), 0.0) if float(value) < float("inf") else None
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None

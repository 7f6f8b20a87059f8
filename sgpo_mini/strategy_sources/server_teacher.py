"""A teacher behind a server that speaks the OpenAI chat protocol."""

import email.utils
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

from .teacher_protocol import NotAccepted, Prompt, Reply, Unanswered

KEY_VARIABLE = "SGPO_TEACHER_KEY"
LONGEST_WAIT = 300.0  # seconds; we don't wait longer when a server asks for it
_NO_SUCH_THING = {
    401,
    402,
    403,
    404,
    405,
}  # a wrong key, model or address, no credit: holds for all requests
_LATER = {408, 409, 425, 429}  # these and every 5xx are tried again


class ServerTeacher:
    """A server that speaks the OpenAI chat protocol: vLLM, llama.cpp, Ollama, TGI, a hosted model.

    `url` is its base URL (http://localhost:8000/v1). The key is read only from the environment
    variable SGPO_TEACHER_KEY, and masked wherever the server repeats it. A time-out, a lost
    connection, an answer that is not a chat completion, 429 and 5xx are tried again, up to `tries`
    times in all. The wait before the next try is `wait` seconds, then doubles each time, unless
    Retry-After sets it. Raises ValueError for an invalid URL or key.
    """

    most_parallel = 256

    def __init__(
        self, url: str, model: str = "", *, timeout: float = 120.0, tries: int = 5, wait: float = 1
    ) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "the teacher's URL must be the plain base URL, such as http://localhost:8000/v1; "
                f"put a key into the environment variable {KEY_VARIABLE}"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"the teacher's URL {url!r} names no server; write it like http://localhost:8000/v1"
            )
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError(
                f"{KEY_VARIABLE} contains a blank or an unusual character; set it to the key alone"
            )
        # A short key can be part of a longer word by accident ("test" in "tested").
        word = rf"(?<!\w){re.escape(key)}(?!\w)" if len(key) < 8 else re.escape(key)
        self._key = re.compile(word) if key else None
        # Without a key the client would send the user's own Hub token to this server.
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
        """One reply for each prompt, requested one after the other.

        `seed` is not sent, because not every server accepts it. Raises Unanswered, NotAccepted, or
        RuntimeError if no request can succeed.
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
            except Exception as error:  # the client and its HTTP library raise many kinds
                reason, seconds = self._judge(error)
            if attempt == self.tries or (seconds or 0.0) > LONGEST_WAIT:
                raise Unanswered(f"{reason} ({attempt} {'try' if attempt == 1 else 'tries'})")
            if seconds is None:  # spread out, or all threads would ask again at the same moment
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
        """Why a try failed, and how long the server asks to wait in seconds (None: it doesn't say).

        Raises NotAccepted or RuntimeError if trying again can't help.
        """
        if isinstance(error, OfflineModeIsEnabled):
            raise RuntimeError(
                "HF_HUB_OFFLINE is set, so huggingface_hub makes no request, not even to a teacher "
                "on this machine; unset it"
            ) from None
        # huggingface_hub 1 passes on the HTTP library's own error, which is not a TimeoutError.
        if isinstance(error, TimeoutError) or type(error).__name__ == "ReadTimeout":
            return f"no answer within {self.timeout:g} s", None
        response = _response_of(error)
        if response is None:
            if isinstance(error, HTTPError):  # refused, reset, cut short
                told = self._without_key(" ".join(str(error).split()))[:200]
                return f"no connection to the server ({told or type(error).__name__})", None
            return f"the server's answer is not a chat completion ({type(error).__name__})", None
        status = response.status_code
        told = self._without_key(" ".join(_words_of(error, response).split()))
        reason = f"HTTP status {status}" + (f" ({told[:200]})" if told else "")
        if status in _LATER or status >= 500:
            return reason, _retry_after(response.headers.get("retry-after"))
        if status in _NO_SUCH_THING:
            raise RuntimeError(
                f"the teacher at {self.url} refused the request: {reason}; check the URL, the "
                f"model's name (--teacher-model) and the key in {KEY_VARIABLE}"
            ) from None
        raise NotAccepted(f"the teacher rejected the request: {reason}") from None

    def _without_key(self, text: str) -> str:
        return self._key.sub(f"[{KEY_VARIABLE}]", text) if self._key else text


def _response_of(error: BaseException | None):
    """The HTTP response behind an error; the client's own handling of a response can fail too."""
    while error is not None:
        if (response := getattr(error, "response", None)) is not None:
            return response
        error = error.__context__
    return None


def _words_of(error: Exception, response) -> str:
    """The server's own message about an error, or ""."""
    if told := getattr(error, "server_message", None):
        return str(told)
    try:  # older vLLM servers and FastAPI put it in fields that the client does not read
        body = response.json()
        return str(body.get("message") or body.get("detail") or "")
    except (ValueError, AttributeError, RuntimeError):  # not JSON, not an object, nested too deeply
        return ""


def _retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for (a number or a date); None if unreadable."""
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

"""A real HTTP server on this machine that speaks the OpenAI chat protocol, as a script says.

A script gets a `Question` and gives the text of the reply, or a `Raw` answer for what no good
server would send. `good` is the script of a teacher that does all that it is asked.
"""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sgpo_mini.problems import Problem

KINDS = ("solve", "draw", "score")

STRATEGIES = [
    f"Problem type: {kind} of equal parts\nApproach: find the amount of each part, then add\n"
    "Steps:\n- Divide the total by the number of parts\n- Add the amounts of the parts"
    for kind in ("sharing", "splitting", "dealing", "cutting", "spreading")
]


@dataclass
class Question:
    """One request: what it asks for, about which problem, and how often that was asked before."""

    kind: str
    prompt: str
    problem: str
    count: int
    headers: dict[str, str]
    body: dict


@dataclass
class Raw:
    """An answer to the letter, after `seconds`; `drop` cuts the connection in its middle."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    drop: bool = False


Script = Callable[[Question], str | Raw]


def problems(count: int = 3) -> list[Problem]:
    return [
        Problem(
            id=f"p{number}",
            question=f"{number + 20} sweets go to 4 children of house {number}. How many in all?",
            answer=str(number + 24),
            solution=f"They are {number} and more, so #### {number + 24}",
        )
        for number in range(count)
    ]


def good(question: Question) -> str:
    """Right answers, five different strategies, and better scores for each of them in turn."""
    if question.kind == "solve":
        number = int(re.search(r"of house (\d+)", question.problem)[1])
        return f"We add. #### {number + 24}"
    if question.kind == "draw":
        return strategy(question.count)
    told = next(i for i, text in enumerate(STRATEGIES) if text in question.prompt)
    return scores(told + 1)


def strategy(number: int) -> str:
    return f"<strategy>\n{STRATEGIES[number % len(STRATEGIES)]}\n</strategy>"


def scores(value) -> str:
    lines = [f"{name}: {value}" for name in ("correct", "general", "sufficient", "free")]
    return "\n".join(["<scores>", *lines, "</scores>"])


def only(kind: str, answer) -> Script:
    """Good, but for the questions of one kind: a text, a Raw answer, or a script for those."""

    def script(question: Question) -> str | Raw:
        if question.kind != kind:
            return good(question)
        return answer(question) if callable(answer) else answer

    return script


class TeacherServer:
    """What it was asked (`questions`), what it has answered (`answered`), the most at one time."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.questions: list[Question] = []
        self.answered: list[Question] = []
        self.most_at_once = self._at_once = 0
        self._counts = Counter()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else every reply takes 40 ms

            def do_POST(self):
                server._answer(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def count(self, kind: str) -> int:
        return sum(question.kind == kind for question in self.questions)

    def _question(self, handler: BaseHTTPRequestHandler) -> Question:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        prompt = body["messages"][-1]["content"]
        kind = "solve"
        if "Reply with the" in prompt:
            kind = "score" if "Reply with the scores" in prompt else "draw"
        problem = re.search(r"(?s)<problem>\n(.*?)\n</problem>", prompt)
        problem = problem[1] if problem else ""
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._lock:
            count = self._counts[kind, problem]
            self._counts[kind, problem] += 1
            question = Question(kind, prompt, problem, count, headers, body)
            self.questions.append(question)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        return question

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        question = self._question(handler)
        answer = self.script(question)
        answer = answer if isinstance(answer, Raw) else completion(answer)
        time.sleep(answer.seconds)
        with self._lock:
            self._at_once -= 1
        try:
            handler.send_response(answer.status)
            headers = {"content-type": "application/json"} | answer.headers
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("content-length", str(len(answer.body)))
            handler.end_headers()
            handler.wfile.write(
                answer.body[: len(answer.body) // 2] if answer.drop else answer.body
            )
            handler.wfile.flush()
            handler.close_connection = answer.drop
            with self._lock:
                self.answered.append(question)
        except OSError:  # the one who asked is gone
            handler.close_connection = True


def completion(text: str | None, tokens: int | None = 100, **message) -> Raw:
    """A chat completion as servers send it."""
    choice = {"index": 0, "finish_reason": "stop"}
    choice["message"] = {"role": "assistant", "content": text} | message
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    if tokens is not None:
        body["usage"] = {
            "prompt_tokens": 1,
            "completion_tokens": tokens - 1,
            "total_tokens": tokens,
        }
    return Raw(json.dumps(body).encode())


@contextmanager
def serving(script: Script = good):
    server = TeacherServer(script)
    try:
        yield server
    finally:
        server.close()

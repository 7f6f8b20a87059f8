"""The files of an extraction: the strategies, the failed problems, and replies in progress."""

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..problems import Problem
from ..strategies import Strategy, load_strategies
from ..support.records import records_of
from .teacher_protocol import Reply

KEPT_OF_A_REPLY = 2_000  # characters kept of a reply that could not be used
COMPACT_EVERY = 100  # finished problems

_FAILED = ".failed.jsonl"


@dataclass
class Outcome:
    """The outcome for one problem: a strategy with its score, or the reason why there is none.

    `score` is the mean over the criteria, 1 to 5. `replies` holds the replies that could not be
    used, each with what was asked, the reason and the text.
    """

    id: str
    teacher: str
    strategy: Strategy | None = None
    score: float = 0.0
    reason: str = ""
    refused_at: str = ""  # the stage whose requests the teacher all rejected
    leaks: int = 0  # candidates dropped because they leak
    requests: int = 0  # requests with a reply
    tokens: int = 0
    replies: list[dict] = field(default_factory=list)

    def refuse(self, asked: str, reason: str, text: str) -> None:
        self.replies.append({"asked": asked, "reason": reason, "text": text[:KEPT_OF_A_REPLY]})


class Store:
    """Three JSONL files; every line is on the disk before the work continues.

    NAME.jsonl has one line for each strategy, as `load_strategies` reads them; you may edit it.
    NAME.failed.jsonl has the problems without a strategy and the replies that could not be used.
    NAME.replies.jsonl has the replies about unfinished problems, so that a killed run asks nothing
    twice; it is removed when no problem is unfinished.

    A last line that has no newline and can't be read is removed: the run was killed while writing
    it, or an edit went wrong. In the first two files it is moved to NAME.cut, with a note on
    standard error. The caller must hold `files.locked`. Raises ValueError, naming file and line,
    if a line can't be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed_path = path.with_suffix(_FAILED)
        self.replies_path = path.with_suffix(".replies.jsonl")
        self.answered: Counter[str] = Counter()  # replies in this run, by stage
        self._lock = threading.Lock()
        self._since_compact = 0
        _mend_end(self.path, path.with_suffix(".cut"))
        _mend_end(self.failed_path, path.with_suffix(".cut"))
        _mend_end(self.replies_path)  # nobody edits this file
        kept, failed, replies = map(_rows_of, (self.path, self.failed_path, self.replies_path))
        if kept:
            load_strategies(path)  # raises, naming the line, if an edit broke it
        self.kept = {str(row.get("id")) for row in kept}
        # Problem id -> how often it has failed.
        self.failures = Counter(str(row.get("id")) for row in failed if not row.get("kept"))
        self._replies: dict[str, dict[str, Reply]] = {}
        for row in replies:
            try:
                name, asked = row.pop("id"), row.pop("asked")
                attempt, reply = row.pop("attempt", 0), Reply(**row)
            except (KeyError, TypeError, AttributeError):
                told = f"{self.replies_path} has a line that no extraction wrote; remove the file"
                raise ValueError(told) from None
            if name not in self.kept and attempt == self.failures[name]:
                self._replies.setdefault(name, {})[asked] = reply
        self._compact()

    def replies_to(self, problem_id: str) -> dict[str, Reply]:
        """A copy of the replies about a problem so far, by what was asked."""
        with self._lock:
            return dict(self._replies.get(problem_id, {}))

    def remember(self, problem_id: str, asked: str, reply: Reply) -> None:
        """Store a reply until its problem is finished."""
        with self._lock:
            self.answered[stage_of(asked)] += 1
            self._replies.setdefault(problem_id, {})[asked] = reply
            _append(self.replies_path, self._row(problem_id, asked, reply))

    def finish(self, outcome: Outcome) -> None:
        """Append the outcome of a problem and forget its replies."""
        strategy = outcome.strategy
        told = ("teacher", "leaks", "requests", "tokens")
        told = {name: getattr(outcome, name) for name in told}
        with self._lock:
            if outcome.replies or not strategy:
                row = {"id": outcome.id, "kept": bool(strategy), "reason": outcome.reason}
                _append(self.failed_path, row | told | {"replies": outcome.replies})
            if strategy:
                row = {"id": outcome.id, **asdict(strategy), "score": outcome.score}
                _append(self.path, row | told)
                self.kept.add(outcome.id)
            else:
                self.failures[outcome.id] += 1
            self._replies.pop(outcome.id, None)
            self._since_compact += 1
            if self._since_compact == COMPACT_EVERY or not self._replies:
                self._compact()

    def _row(self, name: str, asked: str, reply: Reply) -> dict:
        attempt = self.failures[name]  # replies of a failed attempt are not reused
        return {"id": name, "attempt": attempt, "asked": asked, **asdict(reply)}

    def _compact(self) -> None:
        """Rewrite the file of replies with those about unfinished problems only."""
        self._since_compact = 0
        rows = [
            self._row(name, asked, reply)
            for name, replies in self._replies.items()
            for asked, reply in replies.items()
        ]
        temporary = self.replies_path.with_name(f".{self.replies_path.name}.tmp")
        temporary.unlink(missing_ok=True)  # left behind by a killed run
        if not rows:
            self.replies_path.unlink(missing_ok=True)
            return
        for row in rows:
            _append(temporary, row)
        os.replace(temporary, self.replies_path)


def summary(out: str | os.PathLike[str], problems: Iterable[Problem]) -> str:
    """A text report on these problems so far: kept, failed, open, leaks, scores and cost.

    A request counts when its reply came; tokens count as far as the teacher reports them.
    """
    path, ids = Path(out), {problem.id for problem in problems}
    kept = [row for row in _rows_of(path) if str(row.get("id")) in ids]
    told = [row for row in _rows_of(path.with_suffix(_FAILED)) if str(row.get("id")) in ids]
    rows = kept + [row for row in told if not row.get("kept")]
    leaking = sum(row.get("leaks", 0) for row in rows)
    refused = sum(len(row.get("replies", [])) for row in told)
    finished = len({str(row["id"]) for row in rows})
    lines = [f"kept {len(kept)}, failed {finished - len(kept)}, open {len(ids) - finished}"]
    if told:
        lines[0] += f" (reasons and replies: {path.with_suffix(_FAILED)})"
    others = f"{refused - leaking} unreadable or missing replies"
    lines.append(f"refused: {leaking} candidates that leak, {others}")
    scores = sorted(row["score"] for row in kept if "score" in row)
    if scores:
        bands = Counter(min(int(score), 4) for score in scores)
        shares = ", ".join(f"{low} to {low + 1}: {bands[low]}" for low in range(1, 5))
        middle = scores[len(scores) // 2]
        lines.append(f"mean scores of the kept (1 to 5): {shares}; median {middle:g}")
    requests, tokens = (sum(row.get(name, 0) for row in rows) for name in ("requests", "tokens"))
    lines.append(f"used: {requests:,} requests, {tokens:,} tokens")
    return "\n".join(lines)


def stage_of(asked: str) -> str:
    """The first word of what was asked: "solution", "candidate" or "scores"."""
    return asked.replace(",", " ").split()[0]


def _append(path: Path, row: dict) -> None:
    """Append a line with a single write, and wait until it is on the disk."""
    _append_bytes(path, (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"))


def _append_bytes(path: Path, content: bytes) -> None:
    with open(path, "ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _mend_end(path: Path, cut_path: Path | None = None) -> None:
    """End the last line with a newline; move it to `cut_path`, with a note, if it can't be read."""
    content = path.read_bytes() if path.exists() else b""
    whole, newline, last = content.rpartition(b"\n")
    if not last.strip():
        return
    try:
        json.loads(last)
        _append_bytes(path, b"\n")  # an editor omitted the newline
        return
    except ValueError:
        pass
    if cut_path:
        _append_bytes(cut_path, last + b"\n")
        told = "its problem will be asked again, and the line is kept in"
        print(f"{path} ends in a line that is cut short: {told} {cut_path}", file=sys.stderr)
    os.truncate(path, len(whole + newline))


def _rows_of(path: Path) -> list[dict]:
    """The objects of a file, which may be empty or missing."""
    there = path.exists() and path.read_bytes().strip()
    return [row for _, _, row in records_of(path)] if there else []

"""Where an extraction keeps what came of it: the store, what failed, and replies in progress."""

import json
import os
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .problems import Problem, _records
from .strategies import Strategy, load_strategies
from .teachers import Reply

KEPT_OF_A_REPLY = 2_000  # characters of one that could not be used
COMPACT_EVERY = 100  # finished problems

_FAILED = ".failed.jsonl"


@dataclass
class Outcome:
    """What came of one problem: a strategy with its score, or the reason why there is none.

    `score` is the mean over the criteria, 1 to 5; `replies` are those that could not be used, each
    with what was asked, the reason and the text.
    """

    id: str
    teacher: str
    strategy: Strategy | None = None
    score: float = 0.0
    reason: str = ""
    leaks: int = 0  # candidates refused because they leak
    requests: int = 0  # replies that came
    tokens: int = 0
    replies: list[dict] = field(default_factory=list)

    def refuse(self, asked: str, reason: str, text: str) -> None:
        self.replies.append({"asked": asked, "reason": reason, "text": text[:KEPT_OF_A_REPLY]})


class Store:
    """Three JSONL files, each appended line by line, a line being on the disk before work goes on.

    NAME.jsonl has a line for each strategy: what `load_strategies` reads, and a hand may correct.
    NAME.failed.jsonl tells of problems without a strategy, and has the replies that could not be
    used. NAME.replies.jsonl holds the replies to problems in progress, so that a run that is killed
    asks nothing twice; it goes when nothing is in progress. A last line that a kill cut short is
    taken off. Raises ValueError with file and line where one can't be used.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix != ".jsonl":
            raise ValueError(f"the store must be a file that ends in .jsonl, not {str(path)!r}")
        self.path = path
        self.failed_path = path.with_suffix(_FAILED)
        self.replies_path = path.with_suffix(".replies.jsonl")
        self.answered = 0  # replies of this run
        self._lock = threading.Lock()
        self._since_compact = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        kept, failed, replies = map(_rows_of, (self.path, self.failed_path, self.replies_path))
        if kept:
            load_strategies(path)  # refuses, with its line, what a hand has spoilt
        self.finished = {str(row.get("id")) for row in kept}
        self.finished |= {str(row.get("id")) for row in failed if not row.get("kept")}
        self._replies: dict[str, dict[str, Reply]] = {}
        for row in replies:
            try:
                name, asked = row.pop("id"), row.pop("asked")
                reply = Reply(**row)
            except (KeyError, TypeError, AttributeError):
                told = f"{self.replies_path} has a line that no extraction writes; remove the file"
                raise ValueError(told) from None
            if name not in self.finished:
                self._replies.setdefault(name, {})[asked] = reply
        self._compact()

    def replies_to(self, problem_id: str) -> dict[str, Reply]:
        """The replies about a problem that came so far, by what was asked; a copy."""
        with self._lock:
            return dict(self._replies.get(problem_id, {}))

    def remember(self, problem_id: str, asked: str, reply: Reply) -> None:
        """Keep a reply until its problem is finished."""
        with self._lock:
            self.answered += 1
            self._replies.setdefault(problem_id, {})[asked] = reply
            _append(self.replies_path, {"id": problem_id, "asked": asked, **asdict(reply)})

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
            self.finished.add(outcome.id)
            self._replies.pop(outcome.id, None)
            self._since_compact += 1
            if self._since_compact == COMPACT_EVERY or not self._replies:
                self._compact()

    def _compact(self) -> None:
        """Leave the replies to problems in progress alone in their file."""
        self._since_compact = 0
        rows = [
            {"id": name, "asked": asked, **asdict(reply)}
            for name, replies in self._replies.items()
            for asked, reply in replies.items()
        ]
        temporary = self.replies_path.with_name(f".{self.replies_path.name}.tmp")
        temporary.unlink(missing_ok=True)  # of a run that was killed
        if not rows:
            self.replies_path.unlink(missing_ok=True)
            return
        for row in rows:
            _append(temporary, row)
        os.replace(temporary, self.replies_path)


def summary(out: str | os.PathLike[str], problems: Iterable[Problem]) -> str:
    """What came of these problems so far: kept, failed and open ones, leaks, scores, and the cost.

    Requests are counted by their replies; tokens as far as the teacher tells.
    """
    path, ids = Path(out), {problem.id for problem in problems}
    kept = [row for row in _rows_of(path) if str(row.get("id")) in ids]
    told = [row for row in _rows_of(path.with_suffix(_FAILED)) if str(row.get("id")) in ids]
    failed = [row for row in told if not row.get("kept")]
    rows = kept + failed
    leaking = sum(row.get("leaks", 0) for row in rows)
    refused = sum(len(row.get("replies", [])) for row in told)
    still_open = len(ids) - len({str(row["id"]) for row in rows})
    lines = [f"kept {len(kept)}, failed {len(failed)}, open {still_open}"]
    if told:
        lines[0] += f" (reasons and replies: {path.with_suffix(_FAILED)})"
    lines.append(f"refused: {leaking} candidates that leak, {refused - leaking} unreadable replies")
    scores = sorted(row["score"] for row in kept if "score" in row)
    if scores:
        bands = Counter(min(int(score), 4) for score in scores)
        shares = ", ".join(f"{low} to {low + 1}: {bands[low]}" for low in range(1, 5))
        middle = scores[len(scores) // 2]
        lines.append(f"scores of the kept, mean of four from 1 to 5: {shares}; median {middle:g}")
    requests, tokens = (sum(row.get(name, 0) for row in rows) for name in ("requests", "tokens"))
    lines.append(f"used: {requests:,} requests, {tokens:,} tokens")
    return "\n".join(lines)


def _append(path: Path, row: dict) -> None:
    """Add a line with one write, and wait until it is on the disk."""
    line = json.dumps(row, ensure_ascii=False) + "\n"
    with open(path, "ab") as file:
        file.write(line.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def _rows_of(path: Path) -> list[dict]:
    """The objects of a file that may not be there; a last line that a kill cut short goes."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole, newline, last = content.rpartition(b"\n")
    if last.strip():
        try:
            json.loads(last)
            end = content + b"\n"  # an editor left the last line without its end
        except ValueError:
            end = whole + newline
        with open(path, "r+b") as file:
            file.seek(min(len(end), len(content)))
            file.write(end[len(content) :])
            file.truncate()
    return [row for _, _, row in _records(path)] if path.read_bytes().strip() else []

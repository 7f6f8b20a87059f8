"""Learning from solutions: pretraining a tiny student, and the SFT warm-up of a real one.

Both minimise the same cross-entropy on the completion's tokens, the prompt given. They stand below
`training.py`, which carries their names too, so that the method has a file to itself.
"""

import math
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from .checkpoints import RunFolder
from .losses import token_logps
from .problems import Problem
from .student import Student

Example = tuple[list[int], list[int]]  # token ids of prompt and completion

BATCHES_SORTED_TOGETHER = 8
CHECKPOINT_EVERY = 250  # steps


def pretrain(
    student: Student,
    examples: Iterable[Problem],
    *,
    steps: int,
    batch_size: int = 64,
    learning_rate: float = 1.5e-3,
    out: str = "",
    resume: bool = False,
) -> Student:
    """Train a fresh student on a stream of problems with solutions, in place; returns it.

    An example with a `strategy` is learnt with it in the prompt, one without is learnt unguided.
    AdamW, 100 steps of linear warm-up, then a cosine down to a fiftieth. `out` is a folder for the
    log (loss in nats a token) and checkpoints; with `resume` a stopped run goes on from there, if
    `examples` is the same stream from its start.
    """

    def rate(step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        return learning_rate * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * cosine)

    def batches(done: int) -> Iterator[list[Example]]:
        return _sorted_batches(student, iter(examples), batch_size, done)

    settings = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    folder = _folder(out, resume, settings)
    return _fit(student, batches, steps, rate, (0.9, 0.98), folder, resume, "pretraining")


def warm_up(
    student: Student,
    problems: Sequence[Problem],
    *,
    with_strategy: bool = False,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 1e-5,
    seed: int = 0,
    out: str = "",
    resume: bool = False,
) -> Student:
    """SFT on the problems' solutions before RL, in place; returns the student.

    The defaults are the paper's (set-up). `with_strategy` puts each problem's strategy into the
    prompt. mini-GSM's student needs none: its pretraining is the warm-up. `out` and `resume` as in
    `pretrain`. Raises ValueError where a problem has no solution, or no strategy when asked for.
    """
    for problem in problems:
        if not problem.solution or (with_strategy and not problem.strategy):
            lacks = "strategy" if problem.solution else "solution"
            raise ValueError(f"the problem {problem.id!r} has no {lacks}, and the warm-up needs it")
    examples = [_example(student, p, p.strategy if with_strategy else "") for p in problems]
    a_epoch = math.ceil(len(examples) / batch_size)

    def batches(done: int) -> Iterator[list[Example]]:
        for step in range(done, epochs * a_epoch):
            epoch, place = divmod(step, a_epoch)
            order = list(range(len(examples)))
            random.Random(f"warm-up {seed} {epoch}").shuffle(order)
            yield [examples[i] for i in order[place * batch_size : (place + 1) * batch_size]]

    settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    folder = _folder(out, resume, settings | {"seed": seed, "with_strategy": with_strategy})
    steps = epochs * a_epoch
    return _fit(
        student, batches, steps, lambda step: learning_rate, (0.9, 0.999), folder, resume, "warm-up"
    )


def sft_loss(student: Student, batch: Sequence[Example]) -> Tensor:
    """Cross-entropy on the completions' tokens, mean over all tokens of the batch, in nats."""
    length = max(len(prompt) + len(completion) for prompt, completion in batch)
    ids, mask, learnt = [], [], []
    for prompt, completion in batch:
        padding = length - len(prompt) - len(completion)
        ids.append([*prompt, *completion] + [student.pad_id] * padding)
        mask.append([1] * (length - padding) + [0] * padding)
        # The state at position t predicts token t + 1, so the last prompt token learns too.
        learnt.append([0] * (len(prompt) - 1) + [1] * len(completion) + [0] * padding)
    ids = torch.tensor(ids, device=student.device)
    inside = torch.tensor(learnt, device=student.device).bool()  # (B, T - 1)
    with student.autocast():
        states, _ = student.hidden_states(
            input_ids=ids,
            attention_mask=torch.tensor(mask, device=student.device),
            use_cache=False,
        )
        logits = student.head(states[:, :-1][inside])  # (N, V)
    return -token_logps(logits, ids[:, 1:][inside]).mean()


def _folder(out: str, resume: bool, settings: dict) -> RunFolder | None:
    if not out:
        if resume:
            raise ValueError("resume needs the run's folder: give it with out (--out FOLDER)")
        return None
    folder = RunFolder(Path(out))
    settings = settings | {"threads": torch.get_num_threads()}
    if resume:
        folder.check_same(settings, may_differ=set())
    else:
        folder.start(settings)
    return folder


def _fit(
    student: Student,
    batches: Callable[[int], Iterable[list[Example]]],
    steps: int,
    rate: Callable[[int], float],
    betas: tuple[float, float],
    folder: RunFolder | None,
    resume: bool,
    name: str,
) -> Student:
    """AdamW on `batches(done)`, which leaves out the first `done` batches when a run goes on."""
    parameters = [p for p in student.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, betas=betas, weight_decay=0.01)
    done = 0
    if resume:
        state, said = folder.load_checkpoint(student, optimizer)
        print(said, file=sys.stderr)
        done = state.get("step", 0)
        folder.rewind(done)
    bar = tqdm(total=steps, initial=done, desc=name, leave=False, mininterval=1.0)
    for step, batch in enumerate(islice(batches(done), steps - done), start=done):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        loss = sft_loss(student, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        bar.update()
        if folder:
            folder.log("metrics", {"step": step + 1, "loss": loss.item()})
            if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
                folder.save_checkpoint(step + 1, student, optimizer, {})
    bar.close()
    return student


def _example(student: Student, problem: Problem, strategy: str) -> Example:
    prompt = student.prompt_ids(problem.question, strategy)
    return prompt, student.completion_ids(problem.solution)


def _sorted_batches(
    student: Student, examples: Iterator[Problem], batch_size: int, done: int
) -> Iterator[list[Example]]:
    """Batches of like length, in mixed order: little is computed on padding."""
    drawn_together = batch_size * BATCHES_SORTED_TOGETHER
    first_round, within = divmod(done, BATCHES_SORTED_TOGETHER)
    for number in count():
        drawn = list(islice(examples, drawn_together))
        if not drawn:
            return
        if number < first_round:
            continue
        rows = sorted(
            (_example(student, problem, problem.strategy) for problem in drawn),
            key=lambda row: len(row[0]) + len(row[1]),
        )
        batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        random.Random(f"batches {number}").shuffle(batches)
        yield from batches[within if number == first_round else 0 :]

"""Learning from solutions: pretraining a tiny student, and the SFT warm-up of a real one.

Both minimise the cross-entropy of the completion's tokens given the prompt. `training.py`
re-exports both functions.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count, islice

import torch
from torch import Tensor
from tqdm import tqdm

from .checkpoints import RunFolder
from .losses import token_logps
from .problems import Problem
from .student import Student
from .support.checks import context_window, refuse_beyond_window
from .support.digests import digests_of_problems, digests_of_student
from .support.fused_head import through_head
from .support.launchers import refuse_several_processes
from .support.memory import chunk_size, micro_batches
from .support.notes import solutions_to_learn
from .support.steps import count_step, finishing_steps, gradient_scaler, refuse_failures, take_step

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
    """Train a new student in place on a stream of problems with solutions; returns the student.

    An example with a `strategy` has it in the prompt; an example without is unguided. AdamW, 100
    steps of linear warm-up, then cosine decay to 1/50 of the learning rate. `out` is a folder for
    the log (loss in nats per token) and checkpoints. With `resume`, a stopped run continues from
    there bit for bit; pass the same stream from its start. A stream that differs in its first eight
    batches is refused. On Ctrl-C the run finishes its step, saves a checkpoint and raises
    KeyboardInterrupt. Raises ValueError if the stream ends too early (`itertools.cycle` repeats a
    list) or an example exceeds the student's context window, and RuntimeError if the loss or
    gradient is not finite in five steps in a row.
    """
    refuse_several_processes()
    examples = iter(examples)
    first = list(islice(examples, batch_size * BATCHES_SORTED_TOGETHER))  # drawn together below
    refuse_beyond_window(student, first, guided=True, solution="solution")
    examples = chain(first, examples)

    def rate(step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        return learning_rate * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * cosine)

    def batches(done: int) -> Iterator[list[Example]]:
        return _sorted_batches(student, examples, batch_size, done)

    settings = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate}
    settings["first_example"] = [text for p in first[:1] for text in (p.question, p.solution)]
    settings |= _template_settings(student)
    digests = digests_of_problems(first, strategies=True, name="examples")
    digests |= digests_of_student(student.sources)
    with RunFolder.open(out, settings, resume, digests) as folder:
        return _fit(student, batches, steps, rate, (0.9, 0.98), folder, resume, "pretraining")


def warm_up(
    student: Student,
    problems: Sequence[Problem],
    *,
    with_strategy: float = 0.0,
    calculation_notes: bool = False,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 1e-5,
    micro_batch_tokens: int = 0,
    seed: int = 0,
    out: str = "",
    resume: bool = False,
) -> Student:
    """SFT on the problems' solutions before RL, in place; returns the student.

    The defaults are the paper's. `with_strategy` is the share of prompts that contain the problem's
    strategy, in every epoch; with 0.5, each problem is guided in every second epoch. GSM8K's notes
    (<<48/2=24>>) are left out of the solutions unless `calculation_notes`. One backward pass takes
    `micro_batch_tokens` tokens (0: the whole batch); this affects memory, not the gradient.
    mini-GSM's student needs no warm-up after its pretraining. `out`, `resume`, Ctrl-C and
    non-finite losses work as in `pretrain`; a finished run continues with more `epochs`. Raises
    ValueError if there are no problems, if one lacks a solution or a requested strategy, or if one
    exceeds the student's context window.
    """
    refuse_several_processes()
    if not problems:
        raise ValueError("there are no problems to warm up on")
    if not 0 <= with_strategy <= 1:
        raise ValueError(f"with_strategy must be a share from 0 to 1, not {with_strategy}")
    with_strategy = float(with_strategy)  # earlier versions took True or False
    for problem in problems:
        if not problem.solution or (with_strategy and not problem.strategy):
            lacks = "strategy" if problem.solution else "solution"
            raise ValueError(f"warm-up: problem {problem.id!r} has no {lacks}; add it")
    digests = digests_of_problems(problems, strategies=with_strategy > 0)
    digests |= digests_of_student(student.sources)
    problems, noted = solutions_to_learn(problems, "solution", calculation_notes)
    refuse_beyond_window(student, problems, guided=with_strategy > 0, solution="solution")
    count = len(problems)
    unguided = [_example(student, p, "") for p in problems] if with_strategy < 1 else []
    guided = [_example(student, p, p.strategy) for p in problems] if with_strategy > 0 else []
    a_epoch = math.ceil(count / batch_size)
    ranks = random.Random(f"guided {seed}").sample(range(count), count)

    def example(index: int, epoch: int) -> Example:
        """Guided in the epochs where the problem's running share reaches a whole number."""
        before = ranks[index] / count + epoch * with_strategy
        is_guided = math.floor(before + with_strategy) > math.floor(before)
        return guided[index] if is_guided else unguided[index]

    def batches(done: int) -> Iterator[list[Example]]:
        for step in range(done, epochs * a_epoch):
            epoch, place = divmod(step, a_epoch)
            order = list(range(count))
            random.Random(f"warm-up {seed} {epoch}").shuffle(order)
            chosen = order[place * batch_size : (place + 1) * batch_size]
            yield [example(index, epoch) for index in chosen]

    settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    settings |= {"micro_batch_tokens": micro_batch_tokens, "seed": seed}
    settings |= {"with_strategy": with_strategy, "calculation_notes": calculation_notes}
    settings |= _template_settings(student)
    earlier = {"calculation_notes": noted}  # versions without this setting kept all notes
    with RunFolder.open(out, settings, resume, digests, ("epochs",), earlier) as folder:
        return _fit(
            student, batches, epochs * a_epoch, lambda step: learning_rate, (0.9, 0.999), folder,
            resume, "warm-up", micro_batch_tokens,
        )  # fmt: skip


def sft_loss(student: Student, batch: Sequence[Example]) -> Tensor:
    """Mean cross-entropy over all completion tokens of the batch, in nats, shape ()."""
    length = max(len(prompt) + len(completion) for prompt, completion in batch)
    ids, mask, learnt = [], [], []
    for prompt, completion in batch:
        padding = length - len(prompt) - len(completion)
        ids.append([*prompt, *completion] + [student.pad_id] * padding)
        mask.append([1] * (length - padding) + [0] * padding)
        # The state at position t predicts token t + 1, so the last prompt token counts too.
        learnt.append([0] * (len(prompt) - 1) + [1] * len(completion) + [0] * padding)
    ids = torch.tensor(ids, device=student.device)
    inside = torch.tensor(learnt, device=student.device).bool()  # (B, T - 1)

    def objective(logps: Tensor) -> Tensor:
        return -logps.mean()

    with student.autocast():
        states, _ = student.hidden_states(
            input_ids=ids,
            attention_mask=torch.tensor(mask, device=student.device),
            use_cache=False,
        )
        logps = through_head(
            token_logps,
            student.head,
            states[:, :-1][inside],
            ids[:, 1:][inside],
            size=chunk_size(student),
            loss=objective,
        )
    return objective(logps)


def _fit(
    student: Student,
    batches: Callable[[int], Iterable[list[Example]]],
    steps: int,
    rate: Callable[[int], float],
    betas: tuple[float, float],
    folder: RunFolder | None,
    resume: bool,
    name: str,
    micro_batch_tokens: int = 0,
) -> Student:
    """Run AdamW on `batches(done)`, which skips the `done` batches of a resumed run."""
    parameters = [p for p in student.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, betas=betas, weight_decay=0.01)
    scaler = gradient_scaler(student)
    state = {"step": 0, "skipped": 0, "skipped_in_a_row": 0}
    if resume:
        state |= folder.resume(student, optimizer, scaler)
    done = state["step"]
    if done > steps:
        raise ValueError(
            f"the run in {folder.path} has done {done} steps, and {steps} are asked for: "
            "give more epochs (--epochs)"
        )
    student.model.train(student.gradient_checkpointing)  # see training.py for the reason
    bar = tqdm(total=steps, initial=done, desc=name, leave=False, mininterval=1.0)
    with bar, finishing_steps(str(folder.path) if folder else "") as interrupted:
        for batch in islice(batches(done), steps - done):
            for group in optimizer.param_groups:
                group["lr"] = rate(done)
            loss = _accumulate_sft_gradient(student, batch, micro_batch_tokens, scaler)
            _, finite = take_step(optimizer, scaler, loss, 1.0)
            done += 1
            state["step"] = done
            count_step(state, done, finite)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            stop = bool(interrupted)
            if folder:
                row = {"step": done, "loss": loss, "skipped_steps": state["skipped"]}
                folder.log("metrics", row)
                if stop or done % CHECKPOINT_EVERY == 0 or done == steps:
                    folder.save_checkpoint(done, student, optimizer, scaler, state)
            if stop:
                break
            refuse_failures(state)
        else:
            if done < steps:
                raise ValueError(f"{name}: the examples ended after {done} of {steps} steps")
    return student


def _accumulate_sft_gradient(
    student: Student, batch: list[Example], budget: int, scaler: torch.amp.GradScaler
) -> float:
    """Add the gradient of the batch's token mean, `budget` tokens at a time; returns the loss."""
    all_tokens = sum(len(completion) for _, completion in batch)
    lengths = [(len(prompt) + len(completion),) for prompt, completion in batch]
    total = 0.0
    for places in micro_batches(lengths, budget):
        part = [batch[place] for place in places]
        share = sum(len(completion) for _, completion in part) / all_tokens
        loss = sft_loss(student, part) * share
        scaler.scale(loss).backward()
        total += loss.item()
    return total


def _template_settings(student: Student) -> dict:
    settings = student.chat_template_kwargs
    return {"chat_template_kwargs": settings} if settings else {}


def _example(student: Student, problem: Problem, strategy: str) -> Example:
    prompt = student.prompt_ids(problem.question, strategy)
    return prompt, student.completion_ids(problem.solution)


def _sorted_batches(
    student: Student, examples: Iterator[Problem], batch_size: int, done: int
) -> Iterator[list[Example]]:
    """Batches of similar lengths, which need little padding, in random order."""
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
        if sum(map(len, rows[-1])) > (context_window(student) or math.inf):
            refuse_beyond_window(student, drawn, guided=True, solution="solution")
        batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        random.Random(f"batches {number}").shuffle(batches)
        yield from batches[within if number == first_round else 0 :]

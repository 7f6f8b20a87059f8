"""Our side of `against_trl.py`: one training step, or a part of it, a request.

Reads the job as JSON: `method` (grpo, sgpo, distillation, decode, generate or matrices), `model` (a
folder), `batches` of problems (one after the other, again and again), `rollouts` a problem
(autonomous, guided), `tokens` (the limit), `forced` (run to the limit), `stops` (tokens that end a
completion; empty: the student's own), `rank` (of LoRA adapters; 0: all weights), `at_once`
(completions with their prompts in a micro-batch; 0: all), `real_rewards`, `again` (equal
completions are computed one by one) and `saved` (for distillation: the tokens of TRL's first step).
"""

from itertools import chain, count, cycle

import torch
from in_turn import Stopwatch, Worker, forget_peak
from safetensors.torch import load_file
from transformers import GenerationConfig

from sgpo_mini import methods
from sgpo_mini.config import Config
from sgpo_mini.decoding import decode
from sgpo_mini.losses import distillation_loss
from sgpo_mini.problems import Problem, numeric_reward
from sgpo_mini.rollout import Rollouts, _prefill, strategy_kl
from sgpo_mini.student import Student, load_student
from sgpo_mini.supervised import gradient_scaler
from sgpo_mini.support.memory import rows_sampled_at_once
from sgpo_mini.training import _update


def main() -> None:
    worker = Worker()
    job = worker.job
    student = load_student(job["model"], lora_rank=job["rank"])
    student.model.eval()
    if job["stops"]:
        student.stop_ids = tuple(job["stops"])
        methods.sample = as_if_finished(methods.sample)
    if job.get("again"):
        compute_equals_again()
    batches = [[Problem(**problem) for problem in batch] for batch in job["batches"]]
    guided = job["method"] == "sgpo"
    prompts = [student.prompt_ids(p.question) for p in chain(*batches)]
    guided_prompts = [student.prompt_ids(p.question, p.strategy) for p in chain(*batches)]
    a_completion = max(map(len, [*prompts, []])) + job["tokens"]
    config = Config(
        lora_rank=job["rank"],
        micro_batch_tokens=job["at_once"] * a_completion,
        method="sgpo" if guided else "grpo",
        autonomous_rollouts=job["rollouts"][0],
        guided_rollouts=job["rollouts"][1],
        max_new_tokens=job["tokens"],
        learning_rate=1e-12,  # the arithmetic of an update, and the same student in every round
        delta=None if job["method"] == "distillation" else Config.delta,
    )
    work = {"distillation": a_distillation, "decode": a_decoding, "generate": a_decoding}
    if job["method"] == "matrices":
        do = a_matrix_product(worker)
    elif job["method"] in work:
        do = work[job["method"]](worker, student, config, job)
    else:
        do = a_step(worker, student, config, job["real_rewards"])
    forget_peak()
    worker.answer(
        parameters=sum(p.numel() for p in student.model.parameters()),
        prompts=prompts,
        guided_prompts=guided_prompts,
    )
    for request, batch in zip(worker.requests(), cycle(batches)):
        torch.set_num_threads(request["threads"])
        worker.answer(**do(batch))


def compute_equals_again() -> None:
    """From now on equal completions are computed one by one, as if each were distinct."""
    Rollouts.distinct = lambda self: (self, torch.arange(len(self.rows)))


def optimizer_of(student: Student, config: Config) -> torch.optim.AdamW:
    """As `training.train` has it."""
    parameters = [p for p in student.model.parameters() if p.requires_grad]
    rate, decay = config.learning_rate, config.weight_decay
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def as_if_finished(sample):
    """Completions that are cut off by intention: no reward is lost for it."""

    def finished(*args, **kwargs) -> Rollouts:
        rollouts = sample(*args, **kwargs)
        rollouts.truncated.fill_(False)
        return rollouts

    return finished


def a_step(watch: Stopwatch, student: Student, config: Config, real_rewards: bool = False):
    """A step of GRPO or SGPO, as `training.train` takes it, without log and checkpoint."""
    optimizer, scaler = optimizer_of(student, config), gradient_scaler(student)
    step, drawn = count(), count()

    def every_second(text: str, problem: Problem) -> float:
        """The reward of both sides: every problem has a signal, and nothing has to be read."""
        return float(next(drawn) % 2 == 0)

    def do(batch: list[Problem]) -> dict:
        torch.manual_seed(next(step))
        with watch.measured("step"):
            with watch.measured("rollout"):
                reward = numeric_reward if real_rewards else every_second
                experience = methods.collect(student, batch, config, reward)
            _update(student, optimizer, scaler, experience, config)
        return {"sampled_tokens": experience.sampled_tokens, "work": work_done(experience)}

    return do


def work_done(experience: methods.Experience) -> dict[str, float]:
    """What of the autonomous rollouts had to be learnt, and how much of it only once."""
    rollouts = experience.autonomous
    learnt = rollouts.select(experience.advantages.nonzero().squeeze(1))
    targets = 0 if experience.targets is None else len(experience.targets.rows)
    lengths = rollouts.mask.sum(dim=1)
    return {
        "rollouts": len(rollouts.rows),
        "with_signal": len(learnt.rows),
        "distinct_with_signal": len(learnt.distinct()[0].rows) if len(learnt.rows) else 0,
        "mean_length": lengths.mean().item(),
        "longest": lengths.max().item(),
        "targets": targets,
    }


def a_distillation(worker: Worker, student: Student, config: Config, job: dict):
    """Forward KL of the very tokens that TRL's trainer has sampled, the mean over trajectories."""
    optimizer, scaler = optimizer_of(student, config), gradient_scaler(student)
    tokens: list = []

    def do(batch: list[Problem]) -> dict:
        if not tokens:
            tokens.extend(tokens_of_trl(student, batch, job))
        guided, autonomous, rollouts = tokens
        with worker.measured("update"):
            kl = strategy_kl(student, guided, autonomous, rollouts)
            loss = distillation_loss(kl, rollouts.mask, config.delta).mean()
            loss.backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(student.model.parameters(), config.max_grad_norm)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        return {"loss": loss.item(), "sampled_tokens": int(rollouts.mask.sum())}

    return do


def tokens_of_trl(student: Student, batch: list[Problem], job: dict) -> tuple:
    """(guided prompts, autonomous prompts, rollouts) of the first step of TRL's trainer."""
    saved = load_file(job["saved"])
    ids, inside = saved["prompt_ids"], saved["prompt_mask"].bool()
    autonomous = [row[kept].tolist() for row, kept in zip(ids, inside, strict=True)]
    length = saved["completion_ids"].shape[1]
    ids = saved["teacher_input_ids"][:, :-length]
    inside = saved["teacher_attention_mask"][:, :-length].bool()
    guided = [row[kept].tolist() for row, kept in zip(ids, inside, strict=True)]
    # TRL has a row for every completion, we a prompt for every problem. Where the strategy stands
    # in its guided prompt is a little different from ours.
    size = job["rollouts"][1]
    autonomous, guided = autonomous[::size], guided[::size]
    rows = torch.arange(len(autonomous)).repeat_interleave(size)
    mask = saved["completion_mask"].float()
    rollouts = Rollouts(rows, saved["completion_ids"], mask, mask[:, 0] == 2, [""] * len(rows))
    if autonomous != [student.prompt_ids(p.question) for p in batch]:
        raise RuntimeError("TRL has read other prompts")
    return guided, autonomous, rollouts


def a_decoding(worker: Worker, student: Student, config: Config, job: dict):
    """The completions alone, by `decode` or transformers' `generate`, on computed prompts."""
    step = count()
    if job["method"] == "generate":  # every setting that shapes the distribution, and the ends
        settings = GenerationConfig(
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=config.max_new_tokens,
            eos_token_id=list(student.stop_ids),
            pad_token_id=student.pad_id,
            use_cache=True,
        )

    @torch.no_grad()
    def do(batch: list[Problem]) -> dict:
        prompts = [student.prompt_ids(problem.question) for problem in batch]
        rows = torch.arange(len(prompts)).repeat_interleave(sum(job["rollouts"]))
        cache, ids, mask = _prefill(student, prompts)
        torch.manual_seed(next(step))
        with worker.measured("rollout"):
            if job["method"] == "decode":
                tokens, _ = decode(
                    student,
                    cache,
                    ids[:, -1],
                    mask,
                    rows,
                    max_new_tokens=config.max_new_tokens,
                    temperature=1.0,
                    top_p=1.0,
                    rows_at_once=rows_sampled_at_once(student),
                )
            else:
                cache.batch_select_indices(rows)
                output = student.causal_model.generate(
                    ids[rows],
                    attention_mask=mask[rows],
                    past_key_values=cache,
                    generation_config=settings,
                )
                tokens = output[:, ids.shape[1] :]
        stops = torch.isin(tokens, torch.tensor(student.stop_ids)).int()
        behind = stops.cumsum(dim=1) - stops  # stop tokens before this one
        return {"sampled_tokens": int((behind == 0).sum()), "longest": tokens.shape[1]}

    return do


def a_matrix_product(worker: Worker):
    """What the machine can multiply at best: the floor's rate."""
    left, right = torch.randn(2, 2048, 2048).unbind()

    def do(batch: list[Problem]) -> dict:
        with worker.measured("step"):
            left @ right
        return {"operations": 2 * 2048**3}

    return do


if __name__ == "__main__":
    main()

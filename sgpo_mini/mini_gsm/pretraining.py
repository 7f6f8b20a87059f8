"""How the shipped tiny student is made: pretraining on mini-GSM, measuring, and its model card."""

import json
from itertools import chain
from pathlib import Path

import torch

from ..checkpoints import save_with_checksums
from ..evaluation import Evaluation, evaluate
from ..strategies import INSTRUCTION, autonomous_prompt, guided_prompt
from ..student import Student, new_student
from ..supervised import pretrain
from ..support.files import write_whole
from ..support.intervals import confidence_interval
from .plans import LARGEST
from .stories import CLAUSES
from .world import PRACTICE_SHARE, SPLITS, families_of, make_problems, pretraining_stream

LAYERS, WIDTH = 4, 128
STEPS, BATCH_SIZE, LEARNING_RATE = 6000, 32, 1.5e-3
MAX_NEW_TOKENS = 40  # the longest solution has 27
SAMPLES = 16  # per problem, to measure the unguided accuracy of each family

STEPS_OF_TRAINING = 200  # these steps and the evaluation fit into the main job's six minutes

# The settings of each method for the tiny student, chosen on `validation` with the same number of
# tries for each (`results/settings.json`, explained in `results/world.md`).
SETTINGS = {
    "sgpo": {"learning_rate": 2e-4, "delta": 4.0},
    "grpo": {"learning_rate": 1.5e-4},
    "sft": {"learning_rate": 3e-4},
    "sft-own-form": {"learning_rate": 2e-4},
    "luffy": {"learning_rate": 2e-4},
    "luffy-own-form": {"learning_rate": 1.5e-4},
    "hpt": {"learning_rate": 2e-4},
    "hpt-own-form": {"learning_rate": 3e-4},
}
# GRPO and SGPO sample 1,460 to 1,520 tokens a step over their runs of 200 steps, so SFT trains on
# as many. It stops when the validation accuracy has not risen for four measurements.
SFT_SETTINGS = {"sft_tokens_per_step": 1500, "evaluate_every": 20, "early_stop": 4}


def settings_for(data: str, method: str, given_solution: str = "expert_solution") -> dict:
    """A method's default settings on some data: the chosen ones on mini-GSM, none elsewhere."""
    if data != "mini-gsm":
        return {}
    kind = "-own-form" if given_solution == "solution" else ""
    settings = {"max_new_tokens": MAX_NEW_TOKENS, "steps": STEPS_OF_TRAINING}
    return settings | chosen_settings(SETTINGS, SFT_SETTINGS, method, kind)


def chosen_settings(settings: dict, sft_settings: dict, method: str, kind: str) -> dict:
    """A method's own settings, of its kind if it has some; SFT has more of them."""
    more = sft_settings if method == "sft" else {}
    return more | settings.get(f"{method}{kind}", settings.get(method, {}))


def make_tiny_student(
    seed: int = 0, *, steps: int = STEPS, out: str = "", resume: bool = False
) -> Student:
    """Pretrain a tiny student on mini-GSM: it can follow any strategy but can't choose one.

    `seed` draws the weights and the stream of examples. Raises what `pretrain` raises.
    """
    student = new_student(vocabulary_texts(), LAYERS, WIDTH, seed)
    return pretrain(
        student,
        pretraining_stream(seed),
        steps=steps,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        out=out,
        resume=resume,
    )


def vocabulary_texts() -> list[str]:
    """Texts that together have every word and number that mini-GSM can write."""
    problems = list(chain.from_iterable(make_problems(split) for split in SPLITS))
    texts = [guided_prompt(p.question, p.strategy)[0]["content"] for p in problems]
    texts += [autonomous_prompt(p.question)[0]["content"] for p in problems]
    texts += [text for p in problems for text in (p.solution, p.expert_solution)]
    texts += [f"Add {clause.role}" for clause in CLAUSES.values()]  # roles that no plan uses, too
    return [*texts, INSTRUCTION, " ".join(map(str, range(LARGEST + 1)))]


def measure_tiny_student(student: Student) -> dict:
    """Guided (greedy) and unguided (16 samples) accuracy on `validation`, overall and by family.

    The overall values are [accuracy, low, high], with the 95 % interval over problems, and leave
    the "sure and wrong" families out.
    """
    problems = make_problems("validation")
    settings = {"max_new_tokens": MAX_NEW_TOKENS}
    guided = evaluate(student, problems, guided=True, progress="guided", **settings)
    unguided = evaluate(
        student, problems, samples=SAMPLES, temperature=1.0, progress="unguided", **settings
    )
    fair = {family.name for family in families_of("validation") if not family.sure_and_wrong}
    return {
        "guided": _mean_and_interval(guided, fair),
        "unguided": _mean_and_interval(unguided, fair),
        "unguided_by_family": _means(unguided),
        "guided_by_family": _means(guided),
    }


def _means(evaluation: Evaluation) -> dict[str, float]:
    families = evaluation.by_family()
    return {name: round(sum(values) / len(values), 4) for name, values in families.items()}


def _mean_and_interval(evaluation: Evaluation, families: set[str]) -> list[float]:
    pairs = zip(evaluation.problems, evaluation.accuracies, strict=True)
    values = [accuracy for problem, accuracy in pairs if problem.family in families]
    low, high = confidence_interval(values)
    return [round(value, 4) for value in (sum(values) / len(values), low, high)]


def save_tiny_student(student: Student, folder: str | Path, seed: int, steps: int) -> dict:
    """Save the student with its measurements (`measured.json`) and a model card."""
    measured = measure_tiny_student(student)
    save_with_checksums(student, folder)
    folder = Path(folder)
    write_whole(folder / "measured.json", json.dumps(measured, indent=1) + "\n")
    write_whole(folder / "README.md", _model_card(student, measured, seed, steps))
    return measured


def _model_card(student: Student, measured: dict, seed: int, steps: int) -> str:
    parameters = sum(p.numel() for p in student.model.parameters())
    (guided, guided_low, guided_high) = measured["guided"]
    (unguided, unguided_low, unguided_high) = measured["unguided"]
    command = f"python -m sgpo_mini pretrain --seed {seed} --threads {torch.get_num_threads()}"
    command += f" --steps {steps}" if steps != STEPS else ""
    families = "\n".join(
        f"| {name} | {unguided_accuracy:.3f} | {measured['guided_by_family'][name]:.3f} |"
        for name, unguided_accuracy in measured["unguided_by_family"].items()
    )
    return f"""---
license: mit
library_name: transformers
---
# The tiny student of sgpo_mini

A Qwen2-architecture model of {parameters:,} parameters ({LAYERS} layers of width {WIDTH},
{len(student.tokenizer)} tokens: words and whole numbers) for the generated story problems of
mini-GSM. It is of no use for any other text.

Pretrained from scratch by `{command}`: {steps:,} steps of {BATCH_SIZE} examples.
{PRACTICE_SHARE:.0%} of the examples tell a random chain of clauses. Their strategy is drawn from
all that the units allow, and their solution follows it. The other examples tell stories of the
`train` families. Half of these have such a strategy too; the rest have none, and their solution
follows a plan drawn in the same way. So the student can follow any strategy, but does not know
which one a story needs. Two families, labelled `sure and wrong`, are different: without a strategy,
their solution always follows the same wrong plan.

Accuracy on `validation` (95 % intervals over problems, without the two `sure and wrong` families):

- guided by the true strategy, greedy: {guided:.3f} ({guided_low:.3f} to {guided_high:.3f})
- unguided, {SAMPLES} samples a problem: {unguided:.3f} ({unguided_low:.3f} to {unguided_high:.3f})

| family | unguided | guided |
| --- | --- | --- |
{families}

Load it with `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`.
"""

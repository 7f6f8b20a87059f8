"""How the shipped tiny student is made: pretraining on random chains, and measuring it.

A model this small learns the sums and the words within minutes, but to find the number that a
strategy's word belongs to ("the amount found" in "Anna found 5 shells") takes it very long from
nothing. So it starts with what a model that was pretrained on text has: embeddings of numbers that
tell size and remainders, a head that looks at the word before, and one that compares words.
Weights are drawn with a standard deviation of 0.08. Chains start with two clauses, because a single
one teaches to take the only number there is.
"""

import json
import math
from itertools import chain, islice
from pathlib import Path

import torch

from ..checkpoints import save_with_checksums
from ..evaluation import evaluate
from ..strategies import INSTRUCTION, guided_prompt
from ..student import Student, new_student
from ..supervised import pretrain
from ..support.files import write_whole
from ..support.intervals import confidence_interval
from .grammar import KNOWN_VERBS, NEW_VERBS
from .plans import LARGEST
from .stream import pretraining_stream
from .world import CONTROL, DATA, SPLITS, draw_problems, make_problems

LAYERS, WIDTH, INITIAL_STD = 4, 96, 0.08
STEPS, BATCH_SIZE, LEARNING_RATE = 3600, 16, 3e-3
GROWING = 1000  # steps
PERIODS = (2, 3, 4, 5, 7, 10, 20, 50, 100, 200)  # of the waves in a number's first embedding
LOOK_BACK = (1, 0)  # tokens: at the word before, at the word itself
FAST_ROTATIONS, LOOK_BACK_STRENGTH, COMPARISON_STRENGTH = 6, 6.0, 1.5
MAX_NEW_TOKENS = 64  # the longest solution of pretraining has 54
EVALUATION_SPLITS = tuple(split for split in SPLITS if split != "train")
SAMPLES = 16  # per problem, to measure the unguided accuracy

STEPS_OF_TRAINING = 30  # from 60 on GRPO and SGPO are at their ceiling
SETTINGS = {  # of each method and training set, chosen on `validation` (results/settings.json)
    "grpo": {"learning_rate": 6e-4},
    "grpo-hard": {"learning_rate": 9e-4},
    "sgpo": {"learning_rate": 6e-4, "delta": 4.0},
    "sgpo-hard": {"learning_rate": 4e-4, "delta": 1.0},
    "sft": {"learning_rate": 2e-4},
    "sft-own-form": {"learning_rate": 6e-4},
    "luffy": {"learning_rate": 9e-4},
    "luffy-own-form": {"learning_rate": 6e-4},
    "hpt": {"learning_rate": 2e-4},
    "hpt-own-form": {"learning_rate": 6e-4},
}
SFT_SETTINGS = {"sft_tokens_per_step": 1500, "evaluate_every": 10, "early_stop": 4}


def settings_for(
    data: str, method: str, given_solution: str = "expert_solution", split: str = "train"
) -> dict:
    """A method's default settings on some data: the chosen ones on mini-GSM, none elsewhere.

    On mini-GSM they depend on the solutions given and on the training set too.
    """
    if data not in (DATA, CONTROL):
        return {}
    kind = "-own-form" if given_solution == "solution" else "-hard" if split == "hard" else ""
    settings = {"max_new_tokens": MAX_NEW_TOKENS, "steps": STEPS_OF_TRAINING}
    settings |= SFT_SETTINGS if method == "sft" else {}
    return settings | SETTINGS.get(f"{method}{kind}", SETTINGS.get(method, {}))


def make_tiny_student(
    seed: int = 0,
    *,
    steps: int = STEPS,
    control: bool = False,
    out: str = "",
    resume: bool = False,
) -> Student:
    """Pretrain a tiny student: it can follow any strategy, but knows only a few of the verbs.

    `seed` draws the weights and the stream of examples; `control` chooses the control world's
    stream (`pretraining_stream`). Raises what `pretrain` raises.
    """
    student = new_student(vocabulary_texts(), LAYERS, WIDTH, seed, INITIAL_STD, spaced_numbers=True)
    give_numbers_waves(student)
    let_heads_look_back(student)
    return pretrain(
        student,
        pretraining_stream(seed, GROWING * BATCH_SIZE, control),
        steps=steps,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        out=out,
        resume=resume,
    )


def vocabulary_texts() -> list[str]:
    """Texts that together have every word and number that the world can write."""
    problems = list(chain.from_iterable(make_problems(split) for split in SPLITS))
    problems += islice(pretraining_stream(0), 2000)  # with steps that no true plan has
    texts = [guided_prompt(p.question, p.strategy)[0]["content"] for p in problems]
    texts += [text for p in problems for text in (p.solution, p.expert_solution)]
    numbers = range(1, LARGEST + 1)
    return [*texts, INSTRUCTION, *map(str, numbers), *(f" {number}" for number in numbers)]


def give_numbers_waves(student: Student) -> None:
    """Replace the first embeddings of the numbers by waves of several periods, in place.

    Number n has cos(2πn/p) and sin(2πn/p) for each period p, turned at random into the embedding's
    width, with the length that embeddings have, and half of its old random part.
    """
    weights = student.causal_model.get_input_embeddings().weight
    angles = torch.arange(1, LARGEST + 1)[:, None] * 2 * math.pi / torch.tensor(PERIODS)
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(weights.shape[1], waves.shape[1], generator=generator)
    turned = waves @ torch.linalg.qr(directions)[0].T
    turned *= INITIAL_STD * (weights.shape[1] / len(PERIODS)) ** 0.5
    for form in ("{}", " {}"):
        texts = [form.format(number) for number in range(1, LARGEST + 1)]
        ids = student.tokenizer(texts, add_special_tokens=False)["input_ids"]
        places = torch.tensor(ids).squeeze(1)
        with torch.no_grad():
            weights[places] = weights[places] / 2 + turned


def let_heads_look_back(student: Student) -> None:
    """Let heads of the first layer start by looking LOOK_BACK tokens back, in place.

    The biases of queries and keys have one angle to each other in the fastest rotations of RoPE, so
    that their product is largest at one distance: bq·bk ∝ Σ cos((distance - offset) θ). A head of
    the second layer starts by comparing what the two saw, in the slow rotations only: its keys read
    the first one, its queries the second. So after "Amount found" it looks at the 5 of "found 5".
    """
    first, second = (layer.self_attn for layer in student.causal_model.model.layers[:2])
    size, half = first.head_dim, first.head_dim // 2
    theta = 10_000.0 ** (-torch.arange(FAST_ROTATIONS) / half)
    with torch.no_grad():
        directions = torch.linalg.qr(first.o_proj.weight)[0]
        first.o_proj.weight[:] = directions * INITIAL_STD * directions.shape[0] ** 0.5
        for head, offset in enumerate(LOOK_BACK):
            rows = slice(head * size, (head + 1) * size)
            for projection, angles in ((first.q_proj, 0 * theta), (first.k_proj, offset * theta)):
                projection.weight[rows] /= 10
                bias = torch.zeros(size)
                bias[:FAST_ROTATIONS] = angles.cos()
                bias[half : half + FAST_ROTATIONS] = angles.sin()
                projection.bias[rows] = LOOK_BACK_STRENGTH * bias
            first.v_proj.weight[rows] = first.v_proj.weight[:size]
            is_slow = (torch.arange(size) % half >= half // 2)[:, None]
            reader = (second.k_proj, second.q_proj)[head]
            reader.weight[:size] = COMPARISON_STRENGTH * directions[:, rows].T * is_slow


def measure_tiny_student(
    student: Student, seed: int = 1, control: bool = False
) -> dict[str, dict[str, list[float]]]:
    """Guided (greedy) and unguided (16 samples) accuracy on draws of each evaluation split.

    Each value is [accuracy, low, high] with the 95 % interval over families. The draws have other
    numbers than the splits' fixed problems (`draw_problems`).
    """
    measured = {}
    for split in EVALUATION_SPLITS:
        problems = draw_problems(split, seed=seed, control=control)
        settings = {"max_new_tokens": MAX_NEW_TOKENS, "progress": split}
        guided = evaluate(student, problems, guided=True, **settings)
        unguided = evaluate(student, problems, samples=SAMPLES, temperature=1.0, **settings)
        measured[split] = {
            "guided": over_families(guided.by_family()),
            "unguided": over_families(unguided.by_family()),
        }
    return measured


def over_families(families: dict[str, list[float]]) -> list[float]:
    """[mean, low, high] of the families' means, with the 95 % interval over families."""
    means = [sum(values) / len(values) for values in families.values()]
    mean = sum(means) / len(means)
    return [round(value, 4) for value in (mean, *confidence_interval(means))]


def save_tiny_student(
    student: Student, folder: str | Path, command: str, control: bool = False
) -> dict:
    """Save the student with its measurements (`measured.json`) and a model card.

    The card quotes the `command` that made the student.
    """
    measured = measure_tiny_student(student, control=control)
    save_with_checksums(student, folder)
    folder = Path(folder)
    write_whole(folder / "measured.json", json.dumps(measured, indent=1) + "\n")
    write_whole(folder / "README.md", _model_card(student, measured, command))
    return measured


def _model_card(student: Student, measured: dict, command: str) -> str:
    parameters = sum(p.numel() for p in student.model.parameters())
    rows = "\n".join(
        f"| `{split}` | {_interval(row['guided'])} | {_interval(row['unguided'])} |"
        for split, row in measured.items()
    )
    return f"""---
license: mit
library_name: transformers
---
# The tiny student of sgpo_mini

A Qwen2-architecture model of {parameters:,} parameters ({LAYERS} layers of width {WIDTH},
{len(student.tokenizer)} tokens: words and whole numbers) for the generated story problems of
mini-GSM. It is of no use for any other text.

Pretrained from scratch by `{command}` (by default {STEPS:,} steps of {BATCH_SIZE} examples). It has
learnt to carry out any strategy. Without one it knows when a sentence plays a part in the answer,
and what {len(KNOWN_VERBS)} verbs do; {len(NEW_VERBS)} others are new words, which did anything that
fits in unguided examples. In the control world it knows nothing of either.

Accuracy on draws of each split (95 % intervals over families): guided by the true strategy, greedy;
and unguided, {SAMPLES} samples a problem at temperature 1.

| split | guided | unguided |
| --- | --- | --- |
{rows}

Load it with `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`.
"""


def _interval(values: list[float]) -> str:
    mean, low, high = values
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"

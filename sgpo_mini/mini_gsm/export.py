"""Mini-GSM as files that others can use: a JSONL file for each split, and a dataset card.

The card's header lists the files, so that `datasets.load_dataset(FOLDER)` finds the splits.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from .. import REPOSITORY, __version__
from ..problems import Problem
from ..strategies import INSTRUCTION
from ..support.markdown import markdown
from .grammar import KNOWN_VERBS, NEW_VERBS
from .world import DATA, SPLITS, checksum, families_of, make_problems

COLUMNS = "id family question answer solution expert_solution strategy plan".split()
CARD = "README.md"
ABOUT = {
    "train": "training chains: three clauses",
    "validation": "an eighth of the training chains, other numbers and names; to choose settings",
    "test": "another eighth of the training chains, other numbers and names",
    "reworded": "the chains of `test` in sentence forms that no other split uses",
    "composed": "new chains; all neighbouring clauses are neighbours in `train` too",
    "new_pairs": "new chains with neighbouring verbs that are never neighbours in `train`",
    "longer": "four clauses, where `train` has three",
    "unseen": "a verb in a setting in which `train` never tells it",
    "easy": "another training set: two clauses, one of which plays no part",
    "hard": "another training set: four clauses that all play a part",
    "sure_and_wrong": "two families for which the shipped student was taught a wrong plan; leave "
    "them out of averages",
}


def export(
    folder: str | Path, chance: Mapping[str, float], ceilings: Mapping[str, float]
) -> list[Path]:
    """Write every split and the card into a new or empty folder, and return the files.

    `chance` has the accuracy of a random fitting plan on each split, `ceilings` the measured ones;
    both are only told in the card. Raises ValueError if the folder holds anything, because
    `train.jsonl` may be another data set's.
    """
    folder = Path(folder)
    if folder.is_dir() and (held := sorted(path.name for path in folder.iterdir())):
        raise ValueError(
            f"the folder {str(folder)!r} already holds files, such as {held[0]!r}, and the export "
            "overwrites none: name a new or an empty folder"
        )
    texts = {f"{split}.jsonl": "".join(map(_line, make_problems(split))) for split in SPLITS}
    texts[CARD] = card(chance, ceilings)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in texts]


def _line(problem: Problem) -> str:
    row = {column: getattr(problem, column) for column in COLUMNS}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _table(chance: Mapping[str, float], ceilings: Mapping[str, float]) -> str:
    lines = ["split,what it holds,problems,families,chance,ceiling,SHA-256".split(",")]
    for split in SPLITS:
        problems, families = len(make_problems(split)), len(families_of(split))
        ceiling = f"{100 * ceilings[split]:.1f}" if split in ceilings else "—"
        cells = [f"`{split}`", ABOUT[split], f"{problems:,}", f"{families:,}"]
        lines.append(
            [*cells, f"{100 * round(chance[split], 6):.1f}", ceiling, f"`{checksum(split)}`"]
        )
    return markdown(lines)


def card(chance: Mapping[str, float], ceilings: Mapping[str, float]) -> str:
    """The dataset card, in Markdown after its YAML header."""
    address = f"https://github.com/{REPOSITORY}"
    files = "\n".join(f"  - split: {split}\n    path: {split}.jsonl" for split in SPLITS)
    problem = make_problems("test")[0]
    return f"""---
license: mit
language:
- en
pretty_name: mini-GSM
size_categories:
- 1K<n<10K
configs:
- config_name: default
  data_files:
{files}
---
# mini-GSM: does what a strategy teaches carry over?

Generated story problems in GSM8K's form, each with a **strategy**: the steps of its solution in
words, without its numbers. A model that was trained with strategies, or by any other method, is
asked without them: on chains like those that it was trained on, and on four splits that each hold
back one thing.

A story starts with a count and then tells what happened, one clause a sentence. A clause is a verb
in a setting. It plays a part in the answer if the story's person does it, after the count, to the
things that were counted. It plays none if somebody else does it, if it happened before the count,
or if it is about other things. (In 345 of the 4,800 stories of `train` and the exams somebody else
gives things "of their own" to nobody named; read: not to the story's person.) All verbs occur with
the same people, times and things. The numbers never reveal the solution: every plan that fits the
units gives positive whole numbers, and every wrong plan a wrong answer.

```python
from datasets import load_dataset

problems = load_dataset("FOLDER")["test"]  # FOLDER: where this card is
```

## Splits

{_table(chance, ceilings)}

Train on `train`, or on `easy` or `hard`; choose settings on `validation`; then measure on the
others. **Chance** is the accuracy in percent of a plan drawn from those that fit the units. The
**ceiling** is the greedy accuracy without strategies of the shipped student after SFT on the
step-by-step solutions of `train`, on other draws of the same families (for `test`: of
`validation`). It shows what a learner can reach: on `longer` this student can't pass, so a low
accuracy there says little. A dash: not measured.

The checksum is over a split's problems, not over the bytes of its file. Check it with

```python
import hashlib, json

rows = [dict(row) for row in problems]
print(hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest())
```

## Columns

| column | content |
| --- | --- |
| `id` | unique over all splits |
| `family` | the chain of clauses that the story tells |
| `question` | the story and what is asked |
| `answer` | a whole number, as text |
| `solution` | step by step: a line for each clause, then `#### ANSWER` |
| `expert_solution` | terse, as a strong model might write it: one expression, then `#### ANSWER` |
| `strategy` | the true plan in words, without a number |
| `plan` | the operations of the solution in order, a list of texts |

A **family** is a chain of clauses, such as "scrapped, then expanded, then earned by somebody else".
Its problems differ in names, things, numbers and sentence forms, but have the same plan, so they
are not independent: average over families, and compute intervals over families too. The families of
`validation`, `test` and `reworded` are also in `train`; every other split has its own.

A **plan** says what is done with which quantity, in the order told; a clause that plays no part is
left out. `{problem.id}`:

> {problem.question}

has the plan `{json.dumps(problem.plan)}` and the strategy

```
{problem.strategy}
```

## Evaluate your own model

```bash
pip install git+{address}
python -m sgpo_mini evaluate --data mini-gsm --student NAME --max-new-tokens 400
```

NAME is a model on the Hub or a folder. The command generates the problems itself, with the
checksums above, and prints one table: each split with chance, the accuracy without and with the
strategy (95 % intervals over families), and the ratio of both to `test`. `--limit 50` asks the
first 50 problems of each split, `--samples 4 --temperature 0.6` samples.

With your own harness: ask the question, once alone and once with the strategy, after the
instruction "{INSTRUCTION}"
Compare the final number with `answer`.

Keep in mind that a pretrained language model knows all verbs and settings before it is trained. For
it the splits differ in less than for the shipped student, so compare its accuracy before and after
training.

## Train on the files

```bash
python -m sgpo_mini train --data FOLDER/train.jsonl --student NAME --method sgpo
python -m sgpo_mini train --data FOLDER/train.jsonl --student NAME --method grpo
```

SGPO reads the column `strategy`; GRPO does not use it. `--strategies FILE` replaces it by
strategies of your own, by `id`. `--data {DATA}` has the same problems and, for the shipped
student, the settings chosen on `validation`.

## What was built into the shipped student

`--student tiny` is a model of half a million parameters that knows only the words of these stories.
Its pretraining never told a held-out chain, pair or clause. With a strategy it carries out any
plan. Without one it knows when a clause plays a part, and what {len(KNOWN_VERBS)} verbs do.
Another {len(NEW_VERBS)} verbs did anything that fits in the unguided stories of its pretraining.
All splits but `sure_and_wrong` are told with these, so its ignorance is of words: those that it has
to learn.

## Licence and how to quote

MIT, copyright (c) 2026 the sgpo_mini authors. Quote the repository, its version and the checksum of
each split that you used: *mini-GSM, in sgpo_mini {__version__}, {address}*.
There is no paper about this data set.
"""

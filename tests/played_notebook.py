"""Runs a notebook's cells in its profile "gsm8k": `python played_notebook.py NOTEBOOK MODEL`.

In place of the Hub's student stands the model in the folder MODEL, whose completions are cut off
after 3 tokens, and which is trained 3 steps of at most 2 problems: what only takes long is cut
short.
Prints the number of the cells that ran, and fails with the one that does not.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib

from sgpo_mini import rollout, student, training

HUB = ("Qwen/Qwen2.5-0.5B-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct")
PROFILE = 'PROFILE = "laptop"'
TOKENS, STEPS, PROBLEMS = 3, 3, 2


def main(notebook: Path, model: str) -> None:
    cut_short(model)
    matplotlib.use("agg")
    os.chdir(notebook.parent)  # where Jupyter would run it
    told = json.loads(notebook.read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in told["cells"] if cell["cell_type"] == "code"]
    assert sum(cell.count(PROFILE) for cell in cells) == 1, "no PROFILE to change"
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        code = cell.replace(PROFILE, 'PROFILE = "gsm8k"').replace("%matplotlib inline", "")
        exec(compile(code, f"{notebook.name}, code cell {number}", "exec"), names)
    print(f"{len(cells)} cells")


def cut_short(model: str) -> None:
    load, decode = student.load_student, rollout.decode
    warm_up, train = training.warm_up, training.train

    def load_small(source="tiny", **options):
        return load(model if source in HUB else source, **options)

    def decode_little(one, *given, max_new_tokens, **options):
        most = TOKENS if is_large(one) else max_new_tokens
        return decode(one, *given, max_new_tokens=min(max_new_tokens, most), **options)

    def warm_up_little(one, problems, **options):
        return warm_up(one, problems[:4], **options)

    def train_little(one, problems, config, **options):
        if is_large(one):
            count = min(config.problems_per_step, PROBLEMS)
            config = replace(config, steps=min(config.steps, STEPS), problems_per_step=count)
        return train(one, problems, config, **options)

    student.load_student, rollout.decode = load_small, decode_little
    training.warm_up, training.train = warm_up_little, train_little


def is_large(one: student.Student) -> bool:
    """Whether it stands for the Hub's student; the shipped one takes the same time as ever."""
    return one.model.config.vocab_size > 10_000


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2])

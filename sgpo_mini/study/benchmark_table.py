"""One student on all exams of mini-GSM: how well it does, and how much of that carries over."""

from ..evaluation import Evaluation
from ..mini_gsm.pretraining import over_families
from ..mini_gsm.world import EXAMS
from ..support.markdown import markdown
from .tables import chance_of

PROMPTS = {False: "alone", True: "with the strategy"}


def benchmark_table(evaluations: dict[tuple[str, bool], Evaluation]) -> str:
    """The exams as a Markdown table, from evaluations[split, guided].

    Accuracy is in percent, with a 95 % interval over families, each of which counts once. The
    ratio is a split's accuracy over that on `test` with the same prompt; a dash where that is 0.
    """
    prompts = [prompt for prompt in PROMPTS if ("test", prompt) in evaluations]
    measured = {key: over_families(made.by_family()) for key, made in evaluations.items()}
    lines = [["split", "families", "chance", *(PROMPTS[prompt] for prompt in prompts)]]
    lines[0] += [f"{PROMPTS[prompt]} / `test`" for prompt in prompts]
    for split in EXAMS:
        families = len(evaluations[split, prompts[0]].by_family())
        cells = [f"`{split}`", str(families), f"{100 * chance_of(split):.1f}"]
        for prompt in prompts:
            mean, low, high = (100 * value for value in measured[split, prompt])
            cells.append(f"{mean:.1f} ({low:.1f} to {high:.1f})")
        for prompt in prompts:
            on_test = measured["test", prompt][0]
            cells.append(f"{measured[split, prompt][0] / on_test:.2f}" if on_test else "—")
        lines.append(cells)
    return markdown(lines)

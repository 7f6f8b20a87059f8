"""Do strategies help a student? Its accuracy with them, without them, and with two controls."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..config import Config
from ..evaluation import Evaluation, evaluate, paired_difference, pass_at_k
from ..problems import Problem, Reward, numeric_reward
from ..strategies import require_strategies
from ..student import Student
from ..support.checks import refuse_beyond_window, try_reward
from ..support.diagnostics import Diagnostics
from ..support.intervals import confidence_interval
from ..support.markdown import markdown
from .controls import contentless_strategies, shuffled

GROUP = Config.guided_rollouts


@dataclass(frozen=True)
class StrategyMeasure:
    """Four evaluations of a student on the same problems, and the gain of each over no strategy.

    `unguided` gives p_auto and `guided` gives p_guide; `shuffled` and `contentless` are the
    controls.
    """

    unguided: Evaluation
    guided: Evaluation
    shuffled: Evaluation
    contentless: Evaluation

    def gain(self, prompt: str) -> tuple[float, tuple[float, float]]:
        """A prompt's ("guided", ...) paired difference to p_auto, with its 95 % interval."""
        return paired_difference(self.unguided, getattr(self, prompt))

    @property
    def text(self) -> str:
        """A Markdown table: accuracy and paired gain, with 95 % intervals over problems."""
        lines = [["prompt", "accuracy (95 % interval)", "minus p_auto (95 % interval)"]]
        for prompt, label in (
            ("unguided", "no strategy (p_auto)"),
            ("guided", "these strategies (p_guide)"),
            ("shuffled", "those of other families"),
            ("contentless", "contentless, of equal length"),
        ):
            evaluation = getattr(self, prompt)
            low, high = confidence_interval(evaluation.accuracies)
            cells = [label, f"{evaluation.accuracy:.3f} ({low:.3f} to {high:.3f})", "—"]
            if prompt != "unguided":
                gain, (low, high) = self.gain(prompt)
                cells[2] = f"{gain:+.3f} ({low:+.3f} to {high:+.3f})"
            lines.append(cells)
        problems = self.unguided.problems
        count = f"{len(problems)} problems, {len(self.unguided.correct[0])} samples each"
        return f"{markdown(lines)}\n\n{count}; {self._verdict()}"

    def _verdict(self) -> str:
        _, (low, high) = self.gain("guided")
        told = "the strategies help" if low > 0 else "the strategies do not help clearly"
        told = "the strategies harm" if high < 0 else told
        helping = [name for name in ("shuffled", "contentless") if self.gain(name)[1][0] > 0]
        if helping:
            told += f", but so does the control: {' and '.join(helping)}"
        return told

    @property
    def advice(self) -> str:
        """Whether SGPO has something to teach this student on such problems, and if not, the mend.

        It needs p_guide clearly above p_auto, and right guided completions to distill.
        """
        gain, (low, high) = self.gain("guided")
        found = f"p_guide is {abs(gain):.3f} {'above' if gain >= 0 else 'below'} p_auto (95 % "
        found += f"interval of the difference {low:+.3f} to {high:+.3f})"
        warmer = "warm the student up longer (pretrain --with-strategy 0.5)"
        if low <= 0:
            if self.unguided.accuracy > 0.9:
                mend = "the student solves these problems alone, so take harder ones"
            elif self.guided.accuracy < 0.2:
                mend = f"{warmer}, sample at a lower temperature, or take easier problems (of "
                mend += "gsm8k: --calculations 2)"
            else:
                mend = f"make better strategies, {warmer}, or measure more problems if the "
                mend += "interval is wide"
            return f"SGPO has nothing clear to teach here: {found}; {mend}."
        for control, kind in (("shuffled", "another problem's"), ("contentless", "a contentless")):
            if paired_difference(getattr(self, control), self.guided)[1][0] <= 0:
                found += f", but {kind} strategy is not clearly worse; make strategies that fit "
                return f"SGPO may have little to teach here: {found}their problems."
        samples = min(GROUP, len(self.guided.correct[0]))
        empty = 1 - pass_at_k(self.guided.correct, samples)
        if empty > 0.5:
            found += f", but in {empty:.0%} of the groups of {samples} guided completions none is "
            found += f"right and nothing is distilled; {warmer}, or sample at a lower temperature"
        return f"SGPO has something to teach here: {found}."


def measure_strategies(
    student: Student,
    problems: Sequence[Problem],
    *,
    samples: int = 8,
    temperature: float = 1.0,
    max_new_tokens: int = 256,
    reward: Reward = numeric_reward,
    right_reward: float = 1.0,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> StrategyMeasure:
    """Measure a student's p_auto and p_guide on problems with their strategies, and two controls.

    The first control gives each problem a strategy of another family (of another problem if the
    families are unknown). The second gives a text of the same form and number of words that says
    nothing. Each of the four prompts is evaluated on `samples` completions a problem, by default at
    temperature 1 as in rollouts. All four use the same problems, so the gains are paired. With
    `progress`, progress bars are shown.

    Raises ValueError, before anything is sampled, if a problem has no strategy or all strategies
    are equal, and as `evaluate` does.
    """
    problems = list(problems)
    require_strategies(problems)
    prompts = {
        "unguided": problems,
        "guided": problems,
        "shuffled": shuffled(problems, seed),
        "contentless": contentless_strategies(problems),
    }
    for name, asked in prompts.items():
        guided = name != "unguided"
        refuse_beyond_window(student, asked, guided=guided, max_new_tokens=max_new_tokens)
    try_reward(reward, problems)
    diagnostics = Diagnostics()
    return StrategyMeasure(
        **{
            name: evaluate(
                student,
                asked,
                guided=name != "unguided",
                samples=samples,
                temperature=temperature,
                max_new_tokens=max_new_tokens,
                reward=reward,
                right_reward=right_reward,
                batch_size=batch_size,
                seed=seed,
                progress=name if progress else None,
                within=diagnostics,
            )
            for name, asked in prompts.items()
        }
    )

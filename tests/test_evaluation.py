"""evaluation.py: what counts as right, and intervals that hold what they promise."""

import json
import math
import random
import statistics
from itertools import combinations

import pytest
import torch

from sgpo_mini import evaluation
from sgpo_mini.evaluation import Evaluation, avg_at_k, evaluate, paired_difference, pass_at_k
from sgpo_mini.problems import Problem
from sgpo_mini.strategies import INSTRUCTION
from sgpo_mini.student import Student, new_student
from sgpo_mini.supervised import sft_loss
from sgpo_mini.support.intervals import clustered_interval, confidence_interval

# Questions of different lengths, so that evaluation reorders them.
QUESTIONS = {
    "long": "Ann has 3 pens and then finds 2 more pens at home. How many pens?",
    "short": "Ann has 3 pens. How many?",
    "middle": "Ann has 3 pens and finds 2. How many?",
}
ANSWERS = {"long": 5, "short": 3, "middle": 2}
PROBLEMS = [
    Problem(
        id=name,
        question=question,
        answer=str(ANSWERS[name]),
        strategy=f"- Take the {name} one",
        family="odd" if name == "long" else "even",
    )
    for name, question in QUESTIONS.items()
]
SETTINGS = {"max_new_tokens": 12}


@pytest.fixture(scope="module")
def student() -> Student:
    """A student that answers right with a strategy; without one it says 1 or 2, as it happens."""
    texts = [f"{p.question}\n{p.strategy}\nSo {p.answer}\n#### {p.answer}" for p in PROBLEMS]
    texts.append(f" 1 2\n\nStrategy:\n\n\n{INSTRUCTION}")
    made = new_student(texts, layers=1, width=32)
    examples = [
        (made.prompt_ids(p.question, strategy), made.completion_ids(f"So {said}\n#### {said}"))
        for p in PROBLEMS
        for said, strategy in ((p.answer, p.strategy), ("1", ""), ("2", ""))
    ]
    optimizer = torch.optim.Adam(made.model.parameters(), lr=5e-3)
    for _ in range(200):
        sft_loss(made, examples).backward()
        optimizer.step()
        optimizer.zero_grad()
    return made


# evaluate


def test_guided_answers_are_given_with_the_strategy_and_unguided_ones_without(student):
    guided = evaluate(student, PROBLEMS, guided=True, **SETTINGS)
    assert guided.guided and guided.accuracy == 1.0
    for problem, completions in zip(PROBLEMS, guided.completions, strict=True):
        assert completions == (f"So {problem.answer}\n#### {problem.answer}",)
    unguided = evaluate(student, PROBLEMS, samples=64, temperature=1.0, **SETTINGS)
    assert not unguided.guided
    long, short, middle = unguided.accuracies
    assert max(long, short) < 0.1 and 0.3 < middle < 0.7


def test_a_batch_that_takes_long_shows_its_tokens(student, monkeypatch, capsys):
    """Of a large model one batch takes minutes, and the bar of the problems stands still."""
    seconds = iter(range(0, 10**6, 3))
    monkeypatch.setattr(evaluation.time, "monotonic", lambda: next(seconds))
    evaluate(student, PROBLEMS, guided=True, progress="guided", **SETTINGS)
    shown = capsys.readouterr().err
    assert "guided" in shown and "token 1 of at most 12" in shown and "token 3 of" in shown
    evaluate(student, PROBLEMS, guided=True, **SETTINGS)
    assert "token" not in capsys.readouterr().err


@pytest.mark.parametrize("batch_size", [1, 2, 256, None])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 0]])
def test_greedy_answers_depend_on_neither_order_nor_batches(student, order, batch_size):
    problems = [PROBLEMS[place] for place in order]
    result = evaluate(student, problems, guided=True, batch_size=batch_size, **SETTINGS)
    assert [p.id for p in result.problems] == [p.id for p in problems]
    assert result.completions == tuple((f"So {p.answer}\n#### {p.answer}",) for p in problems)


def test_samples_follow_the_seed_and_leave_torchs_random_state_alone(student):
    def drawn(seed):
        return evaluate(student, PROBLEMS, samples=8, temperature=1.5, seed=seed, **SETTINGS)

    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = drawn(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)
    assert drawn(0) == first
    assert drawn(1) != first
    for rows in (first.completions, first.correct, first.truncated):
        assert [len(row) for row in rows] == [8, 8, 8]


def test_top_p_cuts_the_tail_of_a_sampled_answer(student):
    narrow = evaluate(student, PROBLEMS, samples=32, temperature=1.0, top_p=0.05, **SETTINGS)
    greedy = evaluate(student, PROBLEMS, top_p=0.05, **SETTINGS)
    assert [set(row) for row in narrow.completions] == [set(row) for row in greedy.completions]


def test_an_answer_that_was_cut_off_is_wrong_whatever_its_text(student):
    whole = evaluate(student, PROBLEMS, reward=lambda text, problem: 1.0, **SETTINGS)
    cut = evaluate(student, PROBLEMS, reward=lambda text, problem: 1.0, max_new_tokens=3)
    assert whole.correct == ((True,),) * 3 and whole.truncated == ((False,),) * 3
    assert cut.correct == ((False,),) * 3 and cut.truncated == ((True,),) * 3


def test_the_readers_own_reward_decides_and_right_means_one(student):
    asked = []

    def reward(text, problem):
        asked.append((problem.id, text))
        return {"long": 0.5, "short": 1, "middle": 0.0}[problem.id]

    result = evaluate(student, PROBLEMS, guided=True, reward=reward, **SETTINGS)
    assert result.correct == ((False,), (True,), (False,))
    tried, asked = asked[:3], asked[3:]
    assert tried == [(p.id, f"#### {p.answer}") for p in PROBLEMS]
    answers = [(p.id, f"So {p.answer}\n#### {p.answer}") for p in PROBLEMS]
    assert sorted(asked) == sorted(answers)


def test_accuracies_are_grouped_by_family(student):
    result = evaluate(student, PROBLEMS, reward=lambda text, p: float(p.id == "short"), **SETTINGS)
    assert result.by_family() == {"odd": [0.0], "even": [1.0, 0.0]}
    assert result.accuracies == [0.0, 1.0, 0.0]
    assert result.accuracy == pytest.approx(1 / 3)


def test_every_completion_is_saved_as_a_line(student, tmp_path):
    result = evaluate(student, PROBLEMS, samples=2, temperature=1.0, **SETTINGS)
    result.save(tmp_path / "completions.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "completions.jsonl").open(encoding="utf-8")]
    assert [row["id"] for row in rows] == ["long", "long", "short", "short", "middle", "middle"]
    assert [row["completion"] for row in rows] == [c for pair in result.completions for c in pair]
    assert [row["correct"] for row in rows] == [c for pair in result.correct for c in pair]
    assert rows[0] == {
        "id": "long",
        "family": "odd",
        "guided": False,
        "question": QUESTIONS["long"],
        "answer": "5",
        "completion": result.completions[0][0],
        "correct": False,
        "truncated": False,
    }


@pytest.mark.parametrize(
    "problems, settings, words",
    [
        ([], {}, "no problems"),
        (PROBLEMS, {"samples": 0, "temperature": 1.0}, "samples must be at least 1"),
        (PROBLEMS, {"samples": 2}, "temperature above 0"),
        (PROBLEMS, {"temperature": -1.0}, "at least 0"),
        (PROBLEMS, {"top_p": 0.0, "temperature": 1.0}, "top_p above 0"),
        ([*PROBLEMS, Problem("bare", "?", "1")], {"guided": True}, "1 problems, such as 'bare'"),
        ([Problem("blank", "?", "1", strategy=" ")], {"guided": True}, "'blank'"),
    ],
)
def test_what_can_not_be_evaluated_is_refused(student, problems, settings, words):
    with pytest.raises(ValueError, match=words):
        evaluate(student, problems, **settings)


# avg@k and pass@k


@pytest.mark.parametrize(
    "correct, expected",
    [([[True]], 1.0), ([[True, False], [False, False]], 0.25), ([[1, 0, 0, 0], [1, 1]], 0.625)],
)
def test_avg_at_k_is_the_mean_over_problems_of_their_share_of_right_samples(correct, expected):
    assert avg_at_k(correct) == expected


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_share_of_k_subsets_with_a_right_sample(k):
    rows = [[True] * c + [False] * (n - c) for n in (5, 6) for c in range(n + 1)]
    shares = [statistics.mean(any(subset) for subset in combinations(row, k)) for row in rows]
    assert pass_at_k(rows, k) == pytest.approx(statistics.mean(shares), abs=1e-12)


def test_pass_at_1_is_avg_at_k():
    rows = [[True, False, False], [True, True, True], [False, False, False]]
    assert pass_at_k(rows, 1) == pytest.approx(avg_at_k(rows))


@pytest.mark.parametrize("k", [0, -1, 3])
def test_pass_at_k_needs_k_samples_of_every_problem(k):
    with pytest.raises(ValueError, match="samples per problem, not 2"):
        pass_at_k([[True, False, True], [True, False]], k)


# Intervals


def test_the_bootstrap_interval_covers_the_truth_about_95_times_in_a_hundred():
    generator = random.Random(0)
    covered = 0
    for _ in range(200):
        # A problem's accuracy over 4 samples; problems differ in how hard they are: mean 0.6.
        chances = [generator.choice((0.3, 0.9)) for _ in range(40)]
        values = [sum(generator.random() < p for _ in range(4)) / 4 for p in chances]
        low, high = confidence_interval(values)
        covered += low <= 0.6 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_bootstrap_interval_is_repeatable_and_near_the_normal_one():
    values = [float(i % 3 == 0) for i in range(300)]
    low, high = confidence_interval(values)
    assert (low, high) == confidence_interval(values)
    half = 1.96 * statistics.pstdev(values) / math.sqrt(300)
    assert low == pytest.approx(1 / 3 - half, abs=0.01)
    assert high == pytest.approx(1 / 3 + half, abs=0.01)


def test_clusters_of_different_sizes_are_drawn_whole_and_their_values_pooled():
    low, high = clustered_interval([[1.0] * 40, [0.0]] * 15)
    assert 0.9 < low < 600 / 615 < high < 1.0  # the mean of the clusters' means would be 0.5
    values = [0.0, 0.5, 1.0, 1.0, 0.25]
    assert clustered_interval([[value] for value in values]) == confidence_interval(values)
    assert clustered_interval([[1.0] * 9] * 4) == confidence_interval([1.0] * 4)


@pytest.mark.parametrize("count, bound", [(1, 0.793), (10, 0.2775), (20, 0.1611), (100, 0.0370)])
def test_wilsons_interval_where_all_or_none_are_right(count, bound):
    """The textbook's numbers: z² / (n + z²)."""
    assert confidence_interval([0.0] * count) == pytest.approx((0.0, bound), abs=5e-4)
    assert confidence_interval([1.0] * count) == pytest.approx((1 - bound, 1.0), abs=5e-4)


@pytest.mark.parametrize(
    "values, half",
    [
        ([1, 2, 3, 4, 5], 2.776 * 1.5811388 / math.sqrt(5)),
        ([0.1, 0.3], 12.706 * 0.1),
        ([0.0, 0.0, 0.0], 0.0),
        ([float(i) for i in range(41)], 1.960 * statistics.stdev(range(41)) / math.sqrt(41)),
    ],
)
def test_over_seeds_it_is_students_t_interval(values, half):
    mean = sum(values) / len(values)
    interval = confidence_interval(values, over="seeds")
    assert interval == pytest.approx((mean - half, mean + half), abs=1e-6)


@pytest.mark.parametrize(
    "values, over, words",
    [
        ([], "problems", "at least one"),
        ([], "seeds", "at least one"),
        ([0.5], "seeds", "two"),
        ([0.5, 0.6], "runs", "'problems' or 'seeds'"),
    ],
)
def test_an_interval_of_nothing_is_refused(values, over, words):
    with pytest.raises(ValueError, match=words):
        confidence_interval(values, over)


def answered(accuracies: list[float], samples: int = 4) -> Evaluation:
    """An evaluation with these accuracies, by hand."""
    problems = tuple(Problem(f"p{i}", "?", "1") for i in range(len(accuracies)))
    right = tuple(
        tuple(j < round(accuracy * samples) for j in range(samples)) for accuracy in accuracies
    )
    empty = tuple(("",) * samples for _ in accuracies)
    return Evaluation(problems, empty, right, tuple((False,) * samples for _ in right), False)


def test_a_paired_interval_is_narrower_where_the_answers_go_together():
    generator = random.Random(0)
    before = [generator.choice((0.0, 0.25, 0.5, 0.75)) for _ in range(80)]
    after = [accuracy + generator.choice((0.0, 0.25)) for accuracy in before]
    difference, (low, high) = paired_difference(answered(before), answered(after))
    assert difference == pytest.approx(statistics.mean(after) - statistics.mean(before))
    assert low < difference < high
    widths = [high - low for low, high in map(confidence_interval, (before, after))]
    assert high - low < 0.5 * math.hypot(*widths)
    assert low > 0


def test_two_students_that_answer_alike_may_still_differ_either_way():
    difference, (low, high) = paired_difference(answered([0.5] * 20), answered([0.5] * 20))
    assert difference == 0.0
    assert -low == high == pytest.approx(0.1611, abs=5e-4)


def test_a_paired_difference_needs_the_same_problems():
    with pytest.raises(ValueError, match="same problems"):
        paired_difference(answered([0.5] * 3), answered([0.5] * 4))

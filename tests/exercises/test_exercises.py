"""Every notebook's solution passes its check, its stub does not, and wrong answers are caught."""

import json
import math
import random
import re
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from sgpo_mini import exercises

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CHECKS = {name: value for name, value in vars(exercises).items() if name.startswith("check_")}
SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```.*?</details>", re.DOTALL)
CALL = re.compile(r"^(?:\w+ = )?(check_\w+)\((\w+)\)", re.MULTILINE)


def cells_of(notebook):
    cells = json.loads((NOTEBOOKS / notebook).read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"]), cell) for cell in cells]


def found_exercises():
    """(notebook, check, name of the function, stub, its cell's stored output, solution)."""
    found = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        exercise = None
        for kind, source, cell in cells_of(path.name):
            if kind == "markdown":
                for solution in SOLUTION.findall(source):
                    assert exercise, f"{path.name}: a solution without an exercise above it"
                    found.append((path.name, *exercise, solution))
                    exercise = None
            elif call := CALL.search(source):
                assert exercise is None, f"{path.name}: {exercise[0]} has no solution below it"
                stored = [text for output in cell["outputs"] for text in output.get("text", ())]
                exercise = (call[1], call[2], source[: call.start()], "".join(stored))
        assert exercise is None, f"{path.name}: {exercise[0]} has no solution below it"
    return found


EXERCISES = found_exercises()
each_exercise = pytest.mark.parametrize(
    ("notebook", "check", "name", "stub", "stored", "solution"),
    EXERCISES,
    ids=[f"{notebook}-{check}" for notebook, check, *_ in EXERCISES],
)


def function_of(code, name):
    namespace = {"torch": torch}
    exec(code, namespace)
    return namespace[name]


def run_check(capsys, check, function):
    """(what the check returns, the line it prints): a bool and one line, whatever happens."""
    solved = CHECKS[check](function)
    printed = capsys.readouterr().out
    assert isinstance(solved, bool)
    assert printed.endswith("\n") and printed.count("\n") == 1
    assert printed.startswith("right: ") == solved
    return solved, printed


@each_exercise
def test_solution_passes(capsys, notebook, check, name, stub, stored, solution):
    solved, line = run_check(capsys, check, function_of(solution, name))
    assert solved, line


@each_exercise
def test_stub_is_unsolved_and_its_line_is_stored(
    capsys, notebook, check, name, stub, stored, solution
):
    solved, line = run_check(capsys, check, function_of(stub, name))
    assert not solved and line.startswith("not solved yet: ")
    assert stored == line
    # The same parameters: a reader who fills in the stub can write what the solution writes.
    first = [re.search(rf"def {name}\((.*?)\)", code)[1] for code in (stub, solution)]
    assert first[0] == first[1]


def test_every_notebook_has_two_exercises_and_every_check_is_used():
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        assert sum(notebook == path.name for notebook, *_ in EXERCISES) == 2, path.name
    assert {check for _, check, *_ in EXERCISES} == set(CHECKS) == set(WRONG)


def weight(p_auto, p_guide, alpha0=0.5, gamma=0.1, alpha_max=0.8):
    return min(max(alpha0 * (p_guide - p_auto + gamma) / (p_auto + gamma), 0.0), alpha_max)


def harmful(kl, mask, delta):
    kl.zero_()
    mask.zero_()
    return mask.bool()


def kept(kl, mask, delta):
    return mask.bool() if delta is None else mask.bool() & (kl <= delta)


def stated(text):
    """The number after the last ####, as text, or None."""
    number = re.match(r"\s*(-?[\d,]+(?:\.\d+|/\d+)?)", text.rpartition("####")[2].replace("$", ""))
    return number[1].replace(",", "") if "####" in text and number else None


def paid(text, truncated, answer):
    read = stated(text)
    return float(not truncated and read is not None and Fraction(read) == Fraction(answer))


def without(*pieces):
    """The right reward of a text from which some pieces were taken."""

    def reward(text, truncated, answer):
        for piece in pieces:
            text = text.replace(piece, "")
        return paid(text, truncated, answer)

    return reward


def last_number(text, truncated, answer):
    numbers = re.findall(r"-?\d+(?:\.\d+|/\d+)?", text.replace(",", ""))
    return float(not truncated and Fraction(numbers[-1]) == Fraction(answer))


ALL_NUMBERS = " ".join(str(number) for number in range(1, 101))


def up_to(tokens, stop_ids, last=False, keep_stop=True, uncut=True):
    """The mask of a completion, with the usual mistakes on request."""
    rows = []
    for row in tokens.tolist():
        stops = [place for place, token in enumerate(row) if token in stop_ids]
        end = stops[-1 if last else 0] + keep_stop if stops else len(row) if uncut else 0
        rows.append([place < end for place in range(len(row))])
    return torch.tensor(rows)


def logps_of(mask=up_to, shift=1, read=torch.Tensor.log_softmax):
    """The log-probabilities of completions, with the usual mistakes on request."""

    def function(logits, ids, start, stop_ids):
        own = ids[:, start:]
        rows = logits[:, start - shift : logits.shape[1] - shift]
        logps = read(rows, -1).gather(-1, own.unsqueeze(-1)).squeeze(-1)
        return logps * mask(own, stop_ids)

    return function


def drawn(logits, number, temperature):
    cumulative = (logits / temperature).softmax(-1).cumsum(-1)
    return torch.searchsorted(cumulative, number, right=True)


def loop(student, prompt, uniform, temperature, pick=drawn, row=-1, grow=True, stop=True):
    """The ids of the prompt and of a completion after it, with the usual mistakes on request."""
    ids = list(prompt)
    for number in uniform:
        read = ids if grow else prompt
        token = pick(student.model(torch.tensor([read])).logits[0, row], number, temperature)
        ids.append(int(token))
        if stop and token in student.stop_ids:
            break
    return ids


def not_normalized(logits, number, temperature):
    cumulative = (logits.log_softmax(-1) / temperature).exp().cumsum(-1)
    return torch.searchsorted(cumulative, number, right=True)


def own(*given, **mistakes):
    return loop(*given, **mistakes)[len(given[1]) :]


def kl(p, q):
    """KL(p ‖ q) of logits, with gradient to both."""
    log_p, log_q = p.log_softmax(-1), q.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def difference(g, z):
    return z.softmax(-1) - g.softmax(-1)


def shares(mask):
    """Of each token in its trajectory's mean, (B, T, 1)."""
    return (mask / mask.sum(dim=1, keepdim=True)).unsqueeze(-1)


def signal(p, size):
    return 1 - p**size - (1 - p) ** size


def smallest(function, share):
    return next(size for size in range(1, 1000) if function(size) >= share)


def group_size(p, share):
    return smallest(lambda size: signal(p, size), share)


def policy_loss(
    logps, old_logps, advantages, mask, low, high, pick=torch.minimum, sign=-1, mean=None, exp=True
):
    """GRPO's loss, with the usual mistakes on request; `mean` is of (each token's loss, mask)."""
    ratio, advantages = logps - old_logps.detach(), advantages[:, None]
    ratio = ratio.exp() if exp else ratio
    each = sign * pick(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages) * mask
    return mean(each, mask) if mean else (each.sum(1) / mask.sum(1)).mean()


def with_loss(**mistakes):
    return lambda *given: policy_loss(*given, **mistakes)


def interval(first, second, quantile=2.776, ddof=1, root=5**0.5):
    gaps = [b - a for a, b in zip(first, second, strict=True)]
    mean = sum(gaps) / 5
    half = quantile * (sum((gap - mean) ** 2 for gap in gaps) / (5 - ddof)) ** 0.5 / root
    return mean - half, mean + half


def unpaired(first, second, quantile):
    half = [interval([0] * 5, values)[1] - sum(values) / 5 for values in (first, second)]
    middle, half = (sum(second) - sum(first)) / 5, math.hypot(*half) * quantile / 2.776
    return middle - half, middle + half


def luffy(p, right, own, shaping=0.1):
    return -(own - right) / (own + 1) * shaping * p / (p + shaping) ** 2


def luffy_in_deviations(p, right, own, shaping=0.1):
    rewards = torch.tensor([1.0] * right + [0.0] * (own - right) + [1.0], dtype=torch.float64)
    deviation = rewards.std().item() + 1e-4
    return luffy(p, right, own, shaping) / deviation


# Wrong answers, and a piece of what the check must say of each.
def strategy_of(*steps, kind="equal groups", approach="find what is left, then share it out"):
    return lambda question: "\n".join(
        [f"Problem type: {kind}", f"Approach: {approach}", "Steps:", *(f"- {s}" for s in steps)]
    )


MULTIPLY, SUBTRACT, DIVIDE = (
    "Multiply the number of groups by the amount in each",
    "Subtract the amount given away",
    "Divide by the amount that a bag takes",
)


def reader(lines, numbers, plan, calculate=False, twice=False, start=True, chain=True, idle=True):
    """What a completion did, with the usual mistakes on request."""
    (_, running), *rest = numbers.items()
    free, done = dict(rest), []
    for i, (first, sign, second, result) in enumerate(lines):
        role = next((role for role, number in free.items() if number == second), None)
        if role is None or (first != running and (chain if i else start)):
            return "not fitting"
        if not twice:
            del free[role]
        done.append((sign, role))
        exact = {"+": running + second, "−": running - second, "×": running * second}
        running = exact[sign] if calculate else result
    if done == plan:
        return "own"
    used, due = {role for _, role in done}, {role for _, role in plan}
    if used == due:
        return "wrong operation"
    return "idle used" if used - due and idle else "left out"


def by_kind(lines, numbers, plan, same):
    """Like `reader`, where the plan is told by `same` alone."""
    read = reader(lines, numbers, plan)
    if read == "not fitting":
        return read
    steps = [(sign, {n: role for role, n in numbers.items()}[b]) for _, sign, b, _ in lines]
    return "own" if same(steps, plan) else read


def near_miss(own, fitting):
    places = [place for _, place in own]
    for plan in fitting:
        if [place for _, place in plan] == places:
            if sum(a != b for a, b in zip(own, plan, strict=True)) == 1:
                return plan
    return ()


def other_plan(own, fitting):
    return next((plan for plan in fitting if plan != own), ())


def others(problems, own_text=False, own_family=False):
    """Another's strategy for each, with the usual mistakes on request."""
    return [
        next(
            other.strategy
            for other in problems
            if (own_family or other.family != problem.family)
            and (own_text or other.strategy != problem.strategy)
        )
        for problem in problems
    ]


def in_place(problems):
    problems.reverse()
    return others(problems)


def chosen(logps, mask, correct, score=None, none=-1):
    """The solution, or one with another score: (P, G) in place of the mean over own tokens."""
    inside = mask.bool()
    if score is None:
        score = torch.where(inside, logps, 0.0).sum(-1) / inside.sum(-1)
    best = torch.where(correct, score, -torch.inf).argmax(dim=1)
    return torch.where(correct.any(dim=1), best, none)


def mean_of(values, mask, kept):
    return (values * mask * kept).sum(1) / mask.sum(1)


def learning(total=len, weigh=None, grpo=1.0, clip=True, few=False, guard=True, told=None):
    """The `learn` of notebook 07, with the usual mistakes on request.

    `total`: what the sum over targets is divided by; `weigh`: the weights of the targets in place
    of their own α; `few`: the mean over the rollouts that have an advantage.
    """

    def learn(student, alone, guided, tries, advantages, alpha, targets, delta):
        from sgpo_mini import distillation_loss, grpo_loss, score
        from sgpo_mini.rollout import strategy_kl

        if few:
            tries, advantages = (
                tries.select(advantages.nonzero().squeeze(1)),
                advantages[advantages != 0],
            )
        logps = score(student, alone, tries) if len(tries.rows) else torch.zeros(0, 1)
        explored = grpo * grpo_loss(logps, logps.detach(), advantages, tries.mask)
        if explored.requires_grad:
            explored.backward()
        distilled = torch.zeros(())
        if len(targets.rows) or not guard:
            kl = strategy_kl(student, guided, alone, targets)
            losses = distillation_loss(kl, targets.mask, delta if clip else None)
            weights = alpha[targets.rows] if weigh is None else weigh(alpha, targets.rows)
            distilled = (weights * losses).sum() / total(alone)
            distilled.backward()
        return told or (explored.item(), distilled.item())

    return learn


def steps_too(student, *arguments):
    losses = learning()(student, *arguments)
    torch.optim.SGD(student.model.parameters(), lr=0.1).step()
    return losses


def imitates(student, alone, guided, tries, advantages, alpha, targets, delta):
    from sgpo_mini import score

    (-score(student, guided, tries).mean()).backward()
    return 0.0, 0.0


def first_bad(bad, rows, factor=4.0, patience=3, last=False, of_step=True, anew=True):
    """The step by the reader's `bad(row, first, factor)`, with the usual mistakes on request."""
    streak = 0
    for place, row in enumerate(rows):
        streak = streak + 1 if bad(row, rows[0], factor) else 0 if anew else streak
        if streak == patience:
            shift = 0 if last else 1 - patience
            return (row["step"] if of_step else place) + shift
    return 0


def is_bad(row, first, factor, finite=True, zero=True, high=True, low=True):
    e, usual = row["entropy"], first["entropy"]
    numbers = row["loss"], row["gradient_norm"]
    bad = finite and not all(x is not None and math.isfinite(x) for x in numbers)
    bad = bad or (zero and row["gradient_norm"] == 0)
    if e is not None and usual is not None:
        bad = bad or (high and e > usual * factor) or (low and e < usual / factor)
    return bad


def with_signs(**signs):
    return lambda rows, **options: first_bad(
        lambda row, first, factor: is_bad(row, first, factor, **signs), rows, **options
    )


def order_reward(exact=sorted, last=True, mark=True, pairs=True):
    """The reward of an order of tasks, with the usual mistakes on request."""

    def reward(text, problem):
        if mark and "####" not in text:
            return 0.0
        told = text.rpartition("####") if last else text.partition("####")
        order = [task.strip() for task in told[2].split("####")[0].split(",")]
        known = json.loads(problem.answer)
        if exact and exact(order) != exact(known["tasks"]):
            return 0.0
        kept = [
            order.index(a) < order.index(b) for a, b in known["before"] if a in order and b in order
        ]
        return float(all(kept) or not pairs)

    return reward


def one_text(text, problem):
    return float(text.rpartition("####")[2].strip() == "sort, wash, dry, fold")


def towns_split(problems, share, draw=lambda towns, n: towns[:n], order=sorted, swap=False):
    towns = order({p.answer: None for p in problems})
    held = set(draw(list(towns), round(share * len(towns))))
    sides = [[p for p in problems if (p.answer in held) == side] for side in (swap, not swap)]
    return sides[0], sides[1]


def questions_split(problems, share):
    count = round(share * len(problems))
    shuffled = random.Random(0).sample(problems, len(problems))
    return shuffled[count:], shuffled[:count]


WRONG = {
    "check_learning": {
        "no gradient": (lambda *arguments: (0.0, 0.0), "call backward()"),
        "no GRPO": (learning(grpo=0.0), "L_GRPO is missing"),
        "the wrong sign": (learning(grpo=-1.0), "wrong sign"),
        "a sum over rollouts": (learning(grpo=8.0), "not a sum"),
        "only those with an advantage": (learning(few=True), "still counts"),
        "no KL": (learning(weigh=lambda a, rows: 0 * a[rows]), "L_KD^clip is missing"),
        "no clip": (learning(clip=False), "above delta"),
        "a mean over targets": (learning(total=lambda alone: 3), "all P problems"),
        "the sum": (learning(total=lambda alone: 1), "divide by P"),
        "no weight": (learning(weigh=lambda a, rows: 1), "α is missing"),
        "neither": (learning(weigh=lambda a, rows: 1, total=lambda alone: 3), "divide by all P"),
        "the first weights": (learning(weigh=lambda a, r: a[: len(r)]), "alpha[targets.rows]"),
        "one weight for all": (learning(weigh=lambda a, rows: a.mean()), "its own α"),
        "something else": (learning(weigh=lambda a, rows: 2 * a[rows]), "not with 1, 0.025"),
        "another gradient": (imitates, "no mix of the two losses"),
        "the step too": (steps_too, "changed the weights"),
        "a mean of nothing": (learning(total=lambda alone: 4, guard=False), "without a target"),
        "one number": (learning(told=0.5), "two numbers"),
        "other numbers": (learning(told=(0.5, 0.1)), "as L_GRPO"),
    },
    "check_first_bad_step": {
        "never": (lambda rows, factor=4.0, patience=3: 0, "slowly"),
        "always": (lambda rows, factor=4.0, patience=3: 1, "healthy"),
        "one is enough": (lambda rows, factor=4.0, patience=3: first_bad(
            is_bad, rows, factor, 1), "may be chance"),
        "the last of them": (lambda rows, **options: first_bad(
            is_bad, rows, last=True, **options), "return the first of them"),
        "a place in the list": (lambda rows, **options: first_bad(
            is_bad, rows, of_step=False, **options), "row's `step`"),
        "beside the row before": (lambda rows, **options: first_bad(
            lambda row, first, factor: is_bad(row, rows[max(0, rows.index(row) - 1)], factor),
            rows, **options), "slowly"),
        "NaN compared": (with_signs(finite=False), "isfinite"),
        "None as a number": (lambda rows, **options: first_bad(
            lambda row, first, factor: not math.isfinite(row["loss"])
            or is_bad(row, first, factor), rows, **options), "TypeError"),
        "no collapse": (with_signs(low=False), "collapsed"),
        "no growth": (with_signs(high=False), "slowly"),
        "no zero": (with_signs(zero=False), "stopped learning"),
        "not anew": (lambda rows, **options: first_bad(is_bad, rows, anew=False, **options),
                     "counting again"),
        "fixed arguments": (lambda rows, **options: first_bad(is_bad, rows), "are arguments"),
        "no entropy": (lambda rows, **options: first_bad(
            lambda row, first, factor: row["entropy"] > 0 and is_bad(row, first, factor),
            rows, **options), "TypeError"),
        "at the factor too": (lambda rows, **options: first_bad(
            lambda row, first, factor: row["entropy"] >= factor * first["entropy"]
            or is_bad(row, first, factor), rows, **options), "exactly 4"),
        "a text": (lambda rows, **options: "5", "not a number"),
    },
    "check_order_reward": {
        "tasks left out": (order_reward(exact=None), "is missing"),
        "a set": (order_reward(exact=set), "each task once"),
        "a length": (order_reward(exact=len), "one is repeated"),
        "the first mark": (order_reward(last=False), "the last #### decides"),
        "no mark": (order_reward(mark=False), "without ####"),
        "no pairs": (order_reward(pairs=False), "broken"),
        "one right text": (one_text, "every pair kept"),
        "all": (lambda text, problem: 1.0, "a pair is broken"),
        "none": (lambda text, problem: 0.0, "every pair kept"),
        "a text": (lambda text, problem: "1.0", "not a number"),
    },
    "check_held_out": {
        "by question": (questions_split, "draw towns, not problems"),
        "in the given order": (lambda p, share: towns_split(p, share, order=list), "other towns"),
        "no seed": (lambda p, share: towns_split(p, share, random.Random().sample), "other towns"),
        "sides swapped": (lambda p, share: towns_split(p, share, swap=True), "held_out is second"),
        "a fixed share": (lambda p, share: towns_split(p, 0.25), "not 10"),
        "one town too few": (lambda p, share: towns_split(p, share - 0.05), "not 5"),
        "some are lost": (lambda p, share: towns_split(p[3:], share), "are missing"),
        "one twice": (lambda p, share: (p, towns_split(p, share)[1]), "twice"),
        "one side": (lambda p, share: towns_split(p, share)[0], "not (train, held_out)"),
        "answers": (lambda p, share: ([q.answer for q in p], []), "something other than problems"),
    },
    "check_own_strategy": {
        "digits": (strategy_of("Multiply 6 by the amount in each", SUBTRACT, DIVIDE), "leaks 6"),
        "a number word": (strategy_of(MULTIPLY, "Subtract sixteen", DIVIDE), "leaks sixteen"),
        "the answer": (strategy_of(MULTIPLY, SUBTRACT, f"{DIVIDE}, which is 7"), "leaks 7"),
        "a number in the type": (strategy_of(MULTIPLY, kind="three steps"), "leaks three"),
        "a name": (strategy_of(MULTIPLY, "Subtract what Omar gives away", DIVIDE), "'Omar'"),
        "a thing": (strategy_of(MULTIPLY, SUBTRACT, "Divide the pears by bags"), "'pears'"),
        "another order": (strategy_of(SUBTRACT, MULTIPLY, DIVIDE), "order is wrong"),
        "a step is missing": (strategy_of(MULTIPLY, DIVIDE), "one step per operation"),
        "another operation": (strategy_of(MULTIPLY, "Add the gift", DIVIDE), "multiply, add"),
        "says nothing": (strategy_of("Think it over", "Check the result"), "begin a step"),
        "no steps": (lambda question: "Problem type: x\nApproach: y", "has no steps"),
        "plain text": (lambda question: MULTIPLY, "not part of a strategy"),
        "a number": (lambda question: 7, "not text"),
    },
    "check_wrong_strategies": {
        "their own": (lambda problems: [p.strategy for p in problems], "its own strategy"),
        "turned by one": (lambda problems: [p.strategy for p in problems[1:] + problems[:1]],
                          "its own strategy"),
        "turned by three": (lambda problems: [p.strategy for p in problems[3:] + problems[:3]],
                            "unequal size"),
        "one for all": (lambda problems: [problems[0].strategy] * len(problems), "its own"),
        "texts not compared": (lambda problems: others(problems, own_text=True),
                               "share a strategy"),
        "families not compared": (lambda problems: others(problems, own_family=True),
                                  "of its own family"),
        "invented": (lambda problems: ["Add everything"] * len(problems), "no problem's strategy"),
        "problems, not texts": (lambda problems: problems[::-1], "no problem's strategy"),
        "one too few": (lambda problems: others(problems)[1:], "one strategy per problem"),
        "turned in place": (in_place, "its own strategy"),
        "a text": (lambda problems: problems[0].strategy, "one strategy per problem"),
    },
    "check_reverse_kl": {
        "the forward one": (lambda g, z: kl(g.detach(), z), "forward"),
        "a gradient to both": (lambda g, z: kl(z, g), "guided side too"),
        "no gradient": (lambda g, z: kl(z, g).detach(), "no gradient"),
        "the wrong side detached": (lambda g, z: kl(z.detach(), g), "guided side too"),
        "half of the gradient": (lambda g, z: (
            z.softmax(-1).detach() * (z.log_softmax(-1) - g.detach().log_softmax(-1))
        ).sum(-1), "do not detach the factor"),
        "the wrong sign": (lambda g, z: -kl(z, g.detach()), "sign"),
        "a mean": (lambda g, z: kl(z, g.detach()) / z.shape[-1], "mean"),
        "bits": (lambda g, z: kl(z, g.detach()) / torch.tensor(2.0).log(), "bits"),
        "no softmax": (lambda g, z: (z.exp() * (z - g.detach())).sum(-1), "first token"),
        "softmax over the wrong axis": (lambda g, z: (
            z.softmax(1) * (z.log_softmax(1) - g.detach().log_softmax(1))
        ).sum(-1), "vocabulary"),
        "not summed": (lambda g, z: z.softmax(-1) * (
            z.log_softmax(-1) - g.detach().log_softmax(-1)), "shape"),
        "one number": (lambda g, z: kl(z, g.detach()).mean(), "shape"),
        "log of softmax": (lambda g, z: (z.softmax(-1) * (
            z.softmax(-1).log() - g.detach().softmax(-1).log())).sum(-1), "log_softmax"),
        "a small constant": (lambda g, z: (z.softmax(-1) * (
            (z.softmax(-1) + 1e-9).log() - (g.detach().softmax(-1) + 1e-9).log()
        )).sum(-1), "no small constant"),
        "a text": (lambda g, z: "0.5", "not a tensor"),
        "numbers without a gradient": (lambda g, z: kl(z, g).tolist(), "no gradient"),
    },
    "check_kl_gradient": {
        "the wrong sign": (lambda g, z, mask: -difference(g, z) * shares(mask), "sign"),
        "padding too": (lambda g, z, mask: difference(g, z) / mask.sum(dim=1)[:, None, None],
                        "padding"),
        "nothing but a - g": (lambda g, z, mask: difference(g, z), "length"),
        "no length": (lambda g, z, mask: difference(g, z) * mask.unsqueeze(-1), "is a mean"),
        "T for all": (lambda g, z, mask: difference(g, z) * mask.unsqueeze(-1) / mask.shape[1],
                      "own length"),
        "all tokens": (lambda g, z, mask: difference(g, z) * mask.unsqueeze(-1) / mask.sum(),
                       "tokens of the batch"),
        "a mean over trajectories": (lambda g, z, mask: difference(g, z) * shares(mask) / len(z),
                                     "are summed"),
        "logits": (lambda g, z, mask: (z - g) * shares(mask), "probabilities"),
        "of the reverse": (lambda g, z, mask: z.softmax(-1) * (
            z.log_softmax(-1) - g.log_softmax(-1) - kl(z, g).unsqueeze(-1)
        ) * shares(mask), "a - g"),
        "softmax over the wrong axis": (lambda g, z, mask: (
            z.softmax(1) - g.softmax(1)) * shares(mask), "a - g"),
        "one number a token": (lambda g, z, mask: (
            difference(g, z) * shares(mask)).sum(-1), "shape"),
        "not a number": (lambda g, z, mask: z * float("nan"), "nan"),
        "a text": (lambda g, z, mask: "a - g", "not a tensor"),
    },
    "check_adaptive_weight": {
        "no upper bound": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                           max(alpha0 * (g - a + gamma) / (a + gamma), 0), "α_max"),
        "no lower bound": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                           min(alpha0 * (g - a + gamma) / (a + gamma), alpha_max), "not negative"),
        "no gamma below the line": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                                    min(max(alpha0 * (g - a + gamma) / a, 0), alpha_max), "γ"),
        "no gamma above the line": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                                    min(max(alpha0 * (g - a) / (a + gamma), 0), alpha_max), "γ"),
        "the two shares swapped": (lambda a, g, **rest: weight(g, a, **rest), "formula"),
        "a plus sign": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                        min(alpha0 * (g + a + gamma) / (a + gamma), alpha_max), "formula"),
        "no alpha0": (lambda a, g, **rest: weight(a, g, **rest | {"alpha0": 1.0}), "formula"),
        "fixed constants": (lambda a, g, **rest: weight(a, g), "arguments"),
        "a fixed bound": (lambda a, g, alpha0=0.5, gamma=0.1, alpha_max=0.8:
                          weight(a, g, alpha0, gamma), "arguments"),
        "two arguments only": (lambda a, g: weight(a, g), "TypeError"),
        "a share of its own": (lambda a, g, **rest: 0.5, "not 0.2917"),
        "a tensor of two": (lambda *shares, **rest: torch.ones(2), "not a number"),
        "not a number": (lambda *shares, **rest: float("nan"), "nan"),
        "a text": (lambda *shares, **rest: "0.2916667", "not a number"),
    },
    "check_kept_tokens": {
        "strictly below": (lambda kl, mask, delta:
                           mask.bool() if delta is None else mask.bool() & (kl < delta), "exactly"),
        "the other side": (lambda kl, mask, delta: mask.bool() & (kl > (delta or 0)), "delta"),
        "padding too": (lambda kl, mask, delta:
                        kl <= (torch.inf if delta is None else delta), "padding"),
        "no delta": (lambda kl, mask, delta: mask.bool(), "above delta"),
        "nothing without delta": (lambda kl, mask, delta:
                                  mask.bool() & (kl <= (delta or 0)), "every token"),
        "no None": (lambda kl, mask, delta: mask.bool() & (kl <= delta), "TypeError"),
        "the kept KL": (lambda kl, mask, delta: kl * kept(kl, mask, delta), "True and False"),
        "how many": (lambda kl, mask, delta: kept(kl, mask, delta).sum(dim=1), "shape"),
        "which": (lambda kl, mask, delta: kept(kl, mask, delta).nonzero(), "shape"),
        "the first row": (lambda kl, mask, delta: kept(kl, mask, delta)[0], "shape"),
        "one truth": (lambda kl, mask, delta: True, "shape"),
        "clears what it is given": (harmful, "drops"),
        "a text": (lambda kl, mask, delta: "all of them", "not a tensor"),
    },
    "check_reward": {
        "pays what was cut off": (lambda text, truncated, answer:
                                  paid(text, False, answer), "truncated completion"),
        "pays only what was cut off": (lambda text, truncated, answer:
                                       paid(text, not truncated, answer), "not 1"),
        "pays everything": (lambda text, truncated, answer: 1.0, "not the gold answer"),
        "the gold answer anywhere": (lambda text, truncated, answer:
                                     answer in text and not truncated, "no answer"),
        "the last number": (last_number, "no answer"),
        "the gold answer behind the mark": (lambda text, truncated, answer:
                                            "####" in text and not truncated
                                            and answer in text.rpartition("####")[2], "parts of"),
        "the first statement": (lambda text, truncated, answer:
                                paid("####" + "".join(text.split("####")[1:2]), truncated,
                                     answer), "the last ####"),
        "needs a statement": (lambda text, truncated, answer:
                              paid(text, truncated, answer) if stated(text) else 1 / 0,
                              "ZeroDivisionError"),
        "compares texts": (lambda text, truncated, answer:
                           not truncated and text.rpartition("#### ")[2] == answer, "18"),
        "no sign": (without("-"), "the sign"),
        "no comma": (lambda text, truncated, answer:
                     paid(re.sub(r"(\d),.*", r"\1", text), truncated, answer), "commas"),
        "no dollar": (lambda text, truncated, answer:
                      "$" not in text and paid(text, truncated, answer), "dollar"),
        "no dollar after the minus": (lambda text, truncated, answer:
                                      "-$" not in text and paid(text, truncated, answer), "minus"),
        "no full stop": (lambda text, truncated, answer:
                         text[-1] != "." and paid(text, truncated, answer), "full stop"),
        "no fraction": (lambda text, truncated, answer:
                        paid(text.partition("/")[0], truncated, answer), "fraction"),
        "floats": (lambda text, truncated, answer: not truncated and stated(text) is not None
                   and float(Fraction(stated(text))) == float(Fraction(answer)), "exactly"),
        "not a number": (lambda *given: float("nan"), "nan"),
        "a text": (lambda *given: "1.0", "not a number"),
    },
    "check_hack": {
        "one number": (lambda question: "24", "gold answer 8"),
        "the story itself": (lambda question: question, "not in the text"),
        "up to 50": (lambda question: ALL_NUMBERS.partition(" 51")[0], "not in the text"),
        "states one of them": (lambda question: ALL_NUMBERS + "\n#### 24", "is_correct accepts"),
        "a list": (lambda question: list(range(1, 101)), "not text"),
        "no parameter": (lambda: ALL_NUMBERS, "TypeError"),
    },
    "check_completion_logps": {
        "not shifted": (logps_of(shift=0), "begin one row earlier"),
        "not shifted, no mask": (logps_of(lambda t, stop: 1, shift=0), "begin one row earlier"),
        "no mask": (logps_of(lambda t, stop: 1), "put 0 behind"),
        "without the stop token": (logps_of(lambda t, stop: up_to(t, stop, keep_stop=False)),
                                   "stop token is missing"),
        "all but stop tokens": (logps_of(lambda t, stop: ~torch.isin(t, torch.tensor(stop))),
                                "stop token is missing"),
        "to the last stop token": (logps_of(lambda t, stop: up_to(t, stop, last=True)), "*first*"),
        "to the last, and nothing of a row without": (logps_of(
            lambda t, stop: up_to(t, stop, last=True, uncut=False)), "*first*"),
        "a row without a stop token": (logps_of(lambda t, stop: up_to(t, stop, uncut=False)),
                                       "cut off"),
        "padding by its id": (logps_of(lambda t, stop: t != 0), "not always padding"),
        "one stop token alone": (logps_of(lambda t, stop: up_to(t, stop[:1])), "any token of"),
        "the last of the stop tokens": (logps_of(lambda t, stop: up_to(t, stop[-1:])),
                                        "any token of"),
        "probabilities": (logps_of(read=torch.Tensor.softmax), "take the logarithm"),
        "logits": (logps_of(read=lambda z, dim: z), "log_softmax first"),
        "the other sign": (lambda *given: -logps_of()(*given), "sign is wrong"),
        "base 2": (lambda *given: logps_of()(*given) / math.log(2), "token number 1 of row 0"),
        "the sum": (lambda *given: logps_of()(*given).sum(1), "shape"),
        "the prompt too": (lambda z, ids, start, stop: logps_of()(z, ids, 1, stop), "shape"),
        "infinite behind the end": (lambda *given: logps_of()(*given).masked_fill(
            logps_of()(*given) == 0, -torch.inf), "-inf"),
        "a text": (lambda *given: "-3.466", "not a tensor"),
    },
    "check_sampling_loop": {
        "the prompt too": (loop, "leave out the prompt"),
        "without the stop token": (lambda student, *given: [
            token for token in own(student, *given) if token not in student.stop_ids],
            "belongs to"),
        "no end": (lambda *given: own(*given, stop=False), "first stop token"),
        "one token": (lambda *given: own(*given)[:1], "goes on"),
        "no temperature": (lambda *given: own(*given[:3], 1.0), "divides the logits"),
        "multiplied": (lambda *given: own(*given[:3], 1 / given[3]), "don't multiply"),
        "not normalized": (lambda *given: own(*given, pick=not_normalized), "add up to 1"),
        "greedy": (lambda *given: own(*given, pick=lambda z, *rest: z.argmax()), "likeliest"),
        "one number for all": (lambda student, prompt, uniform, temperature: own(
            student, prompt, uniform[:1].expand(len(uniform)), temperature), "next random"),
        "the row before": (lambda *given: own(*given, row=-2), "last row"),
        "never grows": (lambda *given: own(*given, grow=False), "all tokens so far"),
        "a batch": (lambda *given: [own(*given)], "shape"),
        "the text": (lambda student, *given: student.decode(own(student, *given)), "not a tensor"),
    },
    "check_grpo_loss": {
        "the other sign": (with_loss(sign=1), "a minus before"),
        "the larger one": (with_loss(pick=torch.maximum), "the larger"),
        "clipped on both sides": (with_loss(pick=lambda plain, cut: cut), "take the min"),
        "no clip": (with_loss(pick=lambda plain, cut: plain), "clip is missing"),
        "low on both sides": (lambda *given: policy_loss(*given[:5], given[4]), "1 + high"),
        "high on both sides": (lambda *given: policy_loss(*given[:4], given[5], given[5]),
                               "1 - low"),
        "fixed constants": (lambda *given: policy_loss(*given[:4], 0.2, 0.28), "are arguments"),
        "a mean over tokens": (with_loss(mean=lambda each, mask: each.sum() / mask.sum()),
                               "mean over all tokens"),
        "padding in the length": (with_loss(mean=lambda each, mask: each.mean()), "divides by T"),
        "a sum over tokens": (with_loss(mean=lambda each, mask: each.sum(1).mean()),
                              "sum over tokens"),
        "a sum": (with_loss(mean=lambda each, mask: each.sum()), "sum over all"),
        "a sum over completions": (with_loss(
            mean=lambda each, mask: (each.sum(1) / mask.sum(1)).sum()), "over completions"),
        "padding too": (lambda logps, old, a, mask, *clip: policy_loss(
            logps, old, a, torch.ones_like(mask), *clip), "padding counts"),
        "no exp": (with_loss(exp=False, pick=lambda plain, cut: plain), "exp is missing"),
        "no ratio": (lambda logps, old, *rest: policy_loss(
            logps, 0 * old, *rest, exp=False, pick=lambda plain, cut: plain), "-A log π"),
        "no gradient": (lambda *given: policy_loss(*given).detach(), "no gradient"),
        "half of the gradient": (lambda *given: (
            policy_loss(*given) + policy_loss(*given).detach()) / 2, "not its gradient"),
        "a gradient to the old": (lambda logps, old, *rest: policy_loss(
            logps - old + old.detach(), old, *rest), "detach them"),
        "one for each completion": (with_loss(
            mean=lambda each, mask: each.sum(1) / mask.sum(1)), "shape"),
        "half": (lambda *given: policy_loss(*given) / 2, "the loss is"),
        "a number": (lambda *given: policy_loss(*given).item(), "no gradient"),
        "a text": (lambda *given: "0.5", "not a tensor"),
    },
    "check_group_size": {
        "right tries only": (lambda p, share: smallest(lambda g: 1 - (1 - p) ** g, share),
                             "every rollout is correct"),
        "right tries only, by logarithm": (lambda p, share:
                                           math.ceil(math.log(1 - share) / math.log(1 - p)),
                                           "every rollout is correct"),
        "more than": (lambda p, share: smallest(lambda g: signal(p, g), share + 1e-9), "equality"),
        "one try short": (lambda p, share: group_size(p, share) - 1, "round up"),
        "not rounded": (lambda p, share: group_size(p, share) - 0.5, "whole number"),
        "all wrong only": (lambda p, share: smallest(lambda g: 1 - p**g, share), "1 - p^G"),
        "the same size": (lambda p, share: 5, "not 69"),
        "never": (lambda p, share: math.inf, "inf"),
        "not a number": (lambda p, share: math.nan, "nan"),
        "a text": (lambda p, share: str(group_size(p, share)), "not a number"),
    },
    "check_targets": {
        "the sum": (lambda z, m, c: chosen(z, m, c, (z * m).sum(-1)), "highest sum"),
        "by the longest length": (lambda z, m, c: chosen(z, m, c, (z * m).mean(-1)), "own length"),
        "padding too": (lambda z, m, c: chosen(z, m, c, z.mean(-1)), "arbitrary"),
        "wrong ones too": (lambda z, m, c: chosen(z, m, c | c.any(1, keepdim=True)), "a wrong one"),
        "no -1": (lambda z, m, c: chosen(z, m, c, none=0), "no target: -1"),
        "the last of equals": (lambda z, m, c: torch.where(
            torch.arange(4) == 3, 2, chosen(z, m, c)), "the first"),
        "the unlikeliest": (lambda z, m, c: chosen(-z, m, c), "not"),
        "a mask of the right": (lambda z, m, c: c, "shape"),
    },
    "check_clipped_loss": {
        "cut down": (lambda d, m, delta: mean_of(d.clamp(max=delta), m, 1), "leave it out"),
        "by the kept tokens": (lambda d, m, delta: (d * m * (d <= delta)).sum(1)
                               / (m * (d <= delta)).sum(1).clamp(min=1), "scaled up"),
        "by none kept": (lambda d, m, delta: (d * m * (d <= delta)).sum(1)
                         / (m * (d <= delta)).sum(1), "still count in the length"),
        "nothing left out": (lambda d, m, delta: mean_of(d, m, 1), "nothing out"),
        "padding too": (lambda d, m, delta: (d * (d <= delta)).sum(1) / m.sum(1), "padding"),
        "one length for all": (lambda d, m, delta: (d * m * (d <= delta)).mean(1), "all by T"),
        "the sum": (lambda d, m, delta: (d * m * (d <= delta)).sum(1), "completion's length"),
        "exactly delta": (lambda d, m, delta: mean_of(d, m, d < delta), "exactly delta"),
        "the wrong side": (lambda d, m, delta: mean_of(d, m, d > delta), "drops the rest"),
        "no gradient": (lambda d, m, delta: mean_of(d, m, d <= delta).detach(), "no gradient"),
        "half of the gradient": (lambda d, m, delta: mean_of((d + d.detach()) / 2, m, d <= delta),
                                 "wrong gradient"),
        "one number": (lambda d, m, delta: mean_of(d, m, d <= delta).mean(), "shape"),
        "twice": (lambda d, m, delta: 2 * mean_of(d, m, d <= delta), "over mask.sum(1)"),
    },
    "check_paired_interval": {
        "high first": (lambda a, b: interval(a, b)[::-1], "(low, high)"),
        "first - second": (lambda a, b: interval(b, a), "second - first"),
        "no root of n": (lambda a, b: interval(a, b, root=1), "√5"),
        "divided by n": (lambda a, b: interval(a, b, ddof=0), "n - 1"),
        "the normal quantile": (lambda a, b: interval(a, b, 1.96), "1.96"),
        "five degrees of freedom": (lambda a, b: interval(a, b, 2.571), "four degrees"),
        "no quantile": (lambda a, b: interval(a, b, 1), "missing"),
        "not paired": (lambda a, b: unpaired(a, b, 2.776), "not paired"),
        "two groups": (lambda a, b: unpaired(a, b, 2.306), "2.306"),
        "the mean alone": (lambda a, b: sum(b) / 5 - sum(a) / 5, "not two"),
        "the mean twice": (lambda a, b: (6.0, 6.0), "mean of the differences"),
        "not numbers": (lambda a, b: (float("nan"), float("nan")), "nan"),
        "a text": (lambda a, b: "4.8 to 7.2", "not a tensor"),
    },
    "check_luffy_gradient": {
        "the other sign": (lambda *given, **rest: -luffy(*given, **rest), "sign"),
        "divided by std": (luffy_in_deviations, "standard deviation"),
        "the mean of the own": (lambda p, right, own, **rest:
                                luffy(p, right, own, **rest) * (own + 1) / own, "whole group"),
        "no advantage": (lambda p, right, own, **rest: luffy(p, 0, 1, **rest) * 2, "missing"),
        "with respect to p": (lambda p, *rest, **more: luffy(p, *rest, **more) / p, "log p"),
        "the loss": (lambda p, right, own, shaping=0.1:
                     -(own - right) / (own + 1) * p / (p + shaping), "derivative"),
        "SFT": (lambda p, right, own, **rest: -(own - right) / (own + 1), "SFT"),
        "plain importance": (lambda p, right, own, **rest: -p * (own - right) / (own + 1),
                             "importance"),
        "a fixed constant": (lambda p, right, own, **rest: luffy(p, right, own), "argument"),
        "something else": (lambda p, right, own, **rest: 7.0, "it is -A"),
        "a text": (lambda *given, **rest: "-0.2", "not a number"),
    },
    "check_plan_reader": {
        "by the answer": (lambda lines, numbers, plan:
                          "own" if lines[-1][3] == 32 else reader(lines, numbers, plan),
                          "not prove the plan"),
        "calculates itself": (lambda *given: reader(*given, calculate=True), "what is written"),
        "in any order": (lambda *given: by_kind(*given, lambda a, b: sorted(a) == sorted(b)),
                         "the order counts"),
        "the quantities alone": (lambda *given: by_kind(
            *given, lambda a, b: [r for _, r in a] == [r for _, r in b]), "operations too"),
        "a beginning": (lambda *given: by_kind(*given, lambda a, b: a == b[: len(a)]),
                        "not the whole plan"),
        "left out comes first": (lambda *given: reader(*given, idle=False), "no step of the plan"),
        "a quantity twice": (lambda *given: reader(*given, twice=True), "used once"),
        "any start": (lambda *given: reader(*given, start=False), "first number"),
        "no chain": (lambda *given: reader(*given, chain=False), "line before"),
        "other words": (lambda *given: reader(*given).replace("own", "own plan"), "five words"),
        "a truth value": (lambda *given: reader(*given) == "own", "five words"),
    },
    "check_near_miss": {
        "its own": (lambda own, fitting: own, "own plan and so no control"),
        "the first other": (other_plan, "all its quantities"),
        "zipped": (lambda own, fitting: min(
            (plan for plan in fitting if plan != own), default=(),
            key=lambda plan: sum(a != b for a, b in zip(own, plan, strict=False))), "quantities"),
        "all turned round": (lambda own, fitting: next(
            (plan for plan in fitting if [p for _, p in plan] == [p for _, p in own]
             and all(a != b for a, b in zip(own, plan, strict=True))), ()), "from `fitting`"),
        "not from the list": (lambda own, fitting: near_miss(own, fitting) and (
            ("raise to the power of", own[0][1]), *own[1:]), "does not fit"),
        "a text": (lambda own, fitting: "subtract, subtract", "not a plan"),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("check", "mistake"), [(check, mistake) for check in WRONG for mistake in WRONG[check]]
)
def test_wrong_answer_is_caught_and_said(capsys, check, mistake):
    function, said = WRONG[check][mistake]
    solved, line = run_check(capsys, check, function)
    assert not solved and line.startswith("not right yet: ") and said in line


class Nasty:
    """An answer that resists every use."""

    def __float__(self):
        raise RuntimeError("no float\nhere")

    def __repr__(self):
        raise ValueError("no repr")

    __eq__ = __bool__ = __len__ = __array__ = __float__
    __hash__ = None


class NastyError(BaseException):
    def __str__(self):
        raise RuntimeError("not text")


def raises(error):
    def function(*arguments, **options):
        raise error

    return function


def endless(*arguments, **options):
    return endless(*arguments, **options)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "function",
    [
        raises(ValueError("two\nlines")),
        raises(ZeroDivisionError()),
        raises(SystemExit(1)),
        raises(NastyError()),
        lambda *arguments, **options: Nasty(),
        lambda *arguments, **options: [[1], [2, 3]],
        lambda *arguments, **options: torch.tensor([[1 + 1j]]),
        lambda *arguments, **options: torch.zeros(0),
        lambda *arguments, **options: "x" * 10_000,
        lambda *arguments, **options: print("a line of the reader's") or 7,
        lambda: 1,
        endless,
        None,
        0.5,
        Nasty(),
        Nasty,
        torch,
    ],
)
def test_check_never_raises(capsys, check, function):
    solved, line = run_check(capsys, check, function)
    assert not solved and len(line) < 300


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "function",
    [
        raises(NotImplementedError()),
        lambda *arguments, **options: None,
        lambda *arguments, **options: ...,
    ],
)
def test_a_stub_is_not_solved_yet(capsys, check, function):
    solved, line = run_check(capsys, check, function)
    assert not solved and line.startswith("not solved yet: ")


@pytest.mark.parametrize("check", CHECKS)
def test_ctrl_c_gets_through(check):
    with pytest.raises(KeyboardInterrupt):
        CHECKS[check](raises(KeyboardInterrupt()))


@pytest.mark.parametrize("convert", [float, torch.tensor, lambda x: torch.tensor([x]).numpy()[0]])
def test_right_weight_in_any_form(capsys, convert):
    solved, line = run_check(
        capsys, "check_adaptive_weight", lambda *shares, **rest: convert(weight(*shares, **rest))
    )
    assert solved, line


@pytest.mark.parametrize("convert", [torch.Tensor.float, torch.Tensor.long, torch.Tensor.tolist])
def test_right_tokens_in_any_form(capsys, convert):
    solved, line = run_check(capsys, "check_kept_tokens", lambda *given: convert(kept(*given)))
    assert solved, line


@pytest.mark.parametrize("convert", [torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist])
def test_right_logps_in_any_form(capsys, convert):
    right = logps_of()
    solved, line = run_check(
        capsys, "check_completion_logps", lambda *given: convert(right(*given))
    )
    assert solved, line


@pytest.mark.parametrize("convert", [list, tuple, torch.tensor])
def test_right_completion_in_any_form(capsys, convert):
    solved, line = run_check(capsys, "check_sampling_loop", lambda *given: convert(own(*given)))
    assert solved, line


def test_check_works_where_gradients_are_off(capsys):
    with torch.no_grad():
        assert run_check(capsys, "check_kept_tokens", kept)[0]


def test_output_of_the_check_goes_where_the_reader_looks(capsys):
    stream = sys.stdout
    run_check(capsys, "check_kept_tokens", lambda *given: print("hidden"))
    assert sys.stdout is stream


def test_right_gradient_by_autograd_or_as_a_list(capsys):
    def by_autograd(g, z, mask):
        z.requires_grad_()
        return torch.autograd.grad((kl(g, z) * shares(mask).squeeze(-1)).sum(), z)[0]

    for answer in (by_autograd, lambda g, z, mask: (difference(g, z) * shares(mask)).tolist()):
        assert run_check(capsys, "check_kl_gradient", answer)[0]


def test_gradients_are_checked_where_they_are_off(capsys):
    with torch.no_grad():
        solved, line = run_check(capsys, "check_reverse_kl", lambda g, z: kl(z, g.detach()))
        assert solved, line


def test_right_loss_in_double_precision_and_where_gradients_are_off(capsys):
    with torch.no_grad():
        solved, line = run_check(
            capsys, "check_grpo_loss", lambda *given: policy_loss(*given).double()
        )
        assert solved, line

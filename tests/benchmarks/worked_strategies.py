"""Strategies from worked solutions and sub-questions, measured on GSM8K's original files.

Run `SGPO_GSM8K_DIR=FOLDER python tests/benchmarks/worked_strategies.py`; it prints what it finds
and writes `sgpo_mini/results/worked-strategies.json`. FOLDER holds train.jsonl, test.jsonl and
test_socratic.jsonl of https://github.com/openai/grade-school-math. The notes' operations are read
here by `ast`, apart from the package's own parser.
"""

import ast
import json
import os
import re
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from sgpo_mini.problems import Problem, load_gsm8k
from sgpo_mini.strategies import Strategy, leaks
from sgpo_mini.strategy_sources.equations import gives, read_equations
from sgpo_mini.strategy_sources.step_forms import read_operations, read_steps, read_structure
from sgpo_mini.strategy_sources.subquestions import strategy_from_subquestions
from sgpo_mini.strategy_sources.worked_solutions import strategy_from_solution

RESULT = Path(__file__).parents[2] / "sgpo_mini" / "results" / "worked-strategies.json"
COMMAND = "SGPO_GSM8K_DIR=FOLDER python tests/benchmarks/worked_strategies.py"
_NAMES = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}


def noted_operations(solution: str) -> tuple[str, ...] | None:
    """The operations of all `<<...>>` notes, as evaluated; None where one is no arithmetic."""
    found: list[str] = []

    def visit(node: ast.expr) -> None:
        if isinstance(node, ast.BinOp):
            visit(node.left)
            visit(node.right)
            found.append(_NAMES[type(node.op)])
        elif isinstance(node, ast.UnaryOp):
            visit(node.operand)
        elif not isinstance(node, ast.Constant):
            raise SyntaxError

    for note in re.findall(r"<<([^<>]*)>>", solution):
        expression = re.sub(r"(?<=\d),(?=\d{3})|[$%]", "", note.partition("=")[0])
        expression = re.sub(r"(?<=[\d)])\s*\(", "*(", expression)
        expression = re.sub(r"(?<![\d.])0+(?=\d)", "", expression)  # Python refuses 05
        try:
            visit(ast.parse(expression.strip(), mode="eval").body)
        except (SyntaxError, KeyError):
            return None
    return tuple(found)


def _all_used(strategy: Strategy) -> bool:
    structure = read_structure(strategy)
    used = {operand for _, operands in structure for operand in operands}
    return used >= set(range(len(structure) - 1))


def measure(problems: list[Problem], make) -> tuple[dict[str, Strategy], Counter[str]]:
    """The strategies that can be made, by problem id, and the reasons why others can't."""
    made, reasons = {}, Counter()
    for problem in problems:
        try:
            made[problem.id] = make(problem)
        except ValueError as error:
            reasons[re.sub(r"gsm8k-\w+-\d+|'[^']*'|\b[\d/]+\b", "...", str(error))] += 1
    return made, reasons


def summary(problems: list[Problem], made: dict[str, Strategy], reasons: Counter[str]) -> dict:
    """What holds for strategies of any source."""
    serves = Counter(strategy.text for strategy in made.values())
    by_id = {problem.id: problem for problem in problems}
    return {
        "problems": len(problems),
        "with_strategy": len(made),
        "share_with_strategy": round(len(made) / len(problems), 4),
        "leaks": sum(bool(leaks(strategy, by_id[name])) for name, strategy in made.items()),
        "distinct": len(serves),
        "problems_sharing_theirs": sum(count for count in serves.values() if count > 1),
        "most_reused_serve": [count for _, count in serves.most_common(10)],
        "refused": dict(reasons.most_common()),
    }


def solution_rows(problems: list[Problem]) -> dict:
    """The measurements of source 3 on one split."""
    made, reasons = measure(problems, strategy_from_solution)
    row = summary(problems, made, reasons)
    count = Counter()
    for problem in problems:
        notes = noted_operations(problem.solution)
        count["with_noted_operations"] += bool(notes) or notes is None
        if not (strategy := made.get(problem.id)):
            continue
        equations = read_equations(problem)
        every = tuple(o.name for equation in equations for o in equation.operations)
        count["equal_to_notes"] += read_operations(strategy) == notes
        count["equal_to_all_equations"] += read_operations(strategy, described=True) == every
        count["with_described_steps"] += any(step.described for step in read_steps(strategy))
        count["without_any_note"] += not notes
        count["every_result_used"] += _all_used(strategy)
        count["reaching_the_answer"] += gives(equations[-1], Fraction(problem.answer))
        count["with_an_implied_number"] += "that the problem implies" in strategy.text
    row |= count
    row["share_equal_to_notes"] = round(count["equal_to_notes"] / len(problems), 4)
    return row


def main() -> None:
    """Prints and writes the measurements."""
    if not os.environ.get("SGPO_GSM8K_DIR"):
        sys.exit("set SGPO_GSM8K_DIR to the folder with GSM8K's original files")
    rows = {f"solutions, {split}": solution_rows(load_gsm8k(split)) for split in ("train", "test")}
    socratic = load_gsm8k("test", "socratic")
    made, reasons = measure(socratic, strategy_from_subquestions)
    rows["sub-questions, test"] = summary(socratic, made, reasons)
    text = json.dumps({"command": COMMAND, **rows}, indent=2)
    RESULT.write_text(text + "\n", encoding="utf-8")
    print(text)
    print(f"{RESULT} is made by {COMMAND}")


if __name__ == "__main__":
    main()

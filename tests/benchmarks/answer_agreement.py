"""How often is_correct agrees with the correctness recorded for real GSM8K outputs.

Run `SGPO_GSM8K_DIR=FOLDER python tests/benchmarks/answer_agreement.py`; the folder holds
example_model_solutions.jsonl of https://github.com/openai/grade-school-math. Every disagreement
is printed with the end of the output, to be looked at.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from sgpo_mini.problems import extract_answer, is_correct

FILE_NAME = "example_model_solutions.jsonl"
MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def compare(folder: str | os.PathLike[str]) -> tuple[int, list[dict]]:
    """The number of recorded outputs, and those on which is_correct and the record disagree."""
    count, disagreements = 0, []
    with open(Path(folder) / FILE_NAME, encoding="utf-8") as file:
        for line, row in enumerate(map(json.loads, file), start=1):
            gold = extract_answer(row["ground_truth"])
            for model in MODELS:
                count += 1
                recorded, output = row[model]["is_correct"], row[model]["solution"]
                if is_correct(output, gold) != recorded:
                    disagreements.append(
                        {
                            "line": line,
                            "model": model,
                            "recorded": recorded,
                            "gold": gold,
                            "read": extract_answer(output),
                            "end": output[-40:],
                        }
                    )
    return count, disagreements


def main() -> None:
    """Prints every disagreement and the share of outputs without one."""
    folder = os.environ.get("SGPO_GSM8K_DIR")
    if not folder:
        sys.exit(f"set SGPO_GSM8K_DIR to the folder that holds {FILE_NAME}")
    count, disagreements = compare(folder)
    for case in disagreements:
        print(", ".join(f"{name} {value!r}" for name, value in case.items()))
    agreeing = count - len(disagreements)
    print(f"{agreeing} of {count} outputs agree: {agreeing / count:.2%}")


if __name__ == "__main__":
    main()

"""Making strategies, inspecting them, measuring whether they help, and controls that should not.

Strategies come from three sources:
- a worked solution, with no model: `worked_solutions.py`, built on `equations.py` (its
  calculations), `quantities.py` (the numbers of the question; `nouns.py`, `number_words.py`),
  `operands.py` and `constants.py` (what each operand means), `result_names.py` and
  `step_forms.py` (the sentences);
- GSM8K's sub-questions: `subquestions.py`;
- a strong model: `extraction.py`, with `extraction_run.py` and the `teacher` files.

`inspection.py` shows a file of strategies beside its problems, `measure.py` measures whether they
help a student, and `controls.py` makes strategies that should not help. This wing imports only the
core; the study, the exercises and the commands use it.
"""

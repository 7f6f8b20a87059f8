"""Where strategies come from, whether they leak, whether they help, and controls that should not.

Strategies come from worked solutions (`worked_solutions.py`, with `equations.py`, `quantities.py`
and `step_forms.py`), from GSM8K's sub-questions (`subquestions.py`) or from a strong model
(`extraction.py`, with the teacher files). `inspection.py` shows a file of strategies beside its
problems, `measure.py` measures whether they help a student, and `controls.py` makes strategies that
should not help. This wing imports the core alone; the study and the commands use it.
"""

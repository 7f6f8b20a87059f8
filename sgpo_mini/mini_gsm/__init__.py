"""The embedded world (mini-GSM): story problems generated from a seed, and its shipped student.

`world.py` generates problems by rule from the clauses and families in `stories.py`, and reads a
story's plan back from its words. `pretraining.py` makes the shipped student (`tiny_student/`) and
holds the settings chosen for it; `strategy_use.py` reads which plan a solution followed. This wing
imports the core alone; the study, the exercises and the commands use it.
"""

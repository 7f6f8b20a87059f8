"""The embedded world (mini-GSM): story problems generated from a seed, and its shipped student.

`stories.py` holds the clauses and families, `plans.py` says which plans fit a family, `world.py`
generates the problems of each split, and `reading.py` reads a story's plan back from its words.
`pretraining.py` makes the shipped student (`tiny_student/`) and holds the settings chosen for it.
`strategy_use.py` reads which plan a solution followed. This wing imports only the core; the study,
the exercises, the commands and the scale wing use it.
"""

"""The embedded world (mini-GSM): story problems generated from a seed, and its shipped student.

A story is a chain of clauses whose cues are shared by many stories, so that what a strategy teaches
in one family can help in another. `grammar.py` holds the words and sentences, `chains.py` the
families and which split each belongs to, `plans.py` which plans fit a chain and its numbers,
`world.py` the problems, and `reading.py` reads a story's plan back from its words. `stream.py`
makes the pretraining examples; `pretraining.py` makes the shipped student (`tiny_student/`) from
them and holds the settings chosen for it. `strategy_use.py` reads which plan a solution followed.
`export.py` writes the splits as files, with a dataset card, for other programs.
This wing imports only the core; the study, the exercises, the commands and the scale wing use it.
"""

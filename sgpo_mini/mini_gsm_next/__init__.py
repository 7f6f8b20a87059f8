"""The next embedded world: chains of clauses with shared cues, in which a strategy can transfer.

It will replace `mini_gsm`. Until then only the comparison in it (`study/next_comparison.py`) uses
it. `grammar.py` holds the words and sentences, `chains.py` the families and which split each
belongs to, `plans.py` which plans fit a chain and its numbers, `world.py` the problems,
`reading.py` the plan read back from a story's words, `stream.py` the pretraining examples, and
`pretraining.py` the student made from them, its measurements and the settings of each method.
"""

"""The next embedded world: chains of clauses with shared cues, in which a strategy can transfer.

It will replace `mini_gsm` once its student is shipped and the comparison has been run in it. Until
then everything else uses `mini_gsm`. `grammar.py` holds the words and sentences, `chains.py` the
families and which split each belongs to, `plans.py` which plans fit a chain and its numbers,
`world.py` the problems, `reading.py` the plan read back from a story's words, and
`pretraining.py` the stream of pretraining examples and the student made from it.
"""

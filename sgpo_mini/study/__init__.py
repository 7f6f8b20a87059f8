"""The comparison of methods on mini-GSM, and the main job.

`rows.py` names what is compared, `runs.py` trains and evaluates it, `packed_runs.py` keeps the
results in small files, and `report.py`, `tables.py`, `figures.py` and `claims.py` turn them into
text and figures. `main_job.py` is the short form: GRPO and SGPO side by side. This wing imports the
core, `mini_gsm`, `strategy_sources` and `plots`; the commands and the exercises use it.
"""

"""Strategy-guided policy optimization, small enough to read.

Import every public name from here (`from sgpo_mini import train, load_student`). Names are loaded
from their modules on first use, so `import sgpo_mini` is fast.
"""

import importlib

__version__ = "0.1.0"
REPOSITORY = "OWNER/sgpo_mini"  # on GitHub

_PUBLIC = {
    "problems": (
        "Problem",
        "Reward",
        "load_gsm8k",
        "load_problems",
        "extract_answer",
        "is_correct",
        "numeric_reward",
    ),
    "strategies": (
        "Strategy",
        "autonomous_prompt",
        "guided_prompt",
        "leaks",
        "load_strategies",
        "save_strategies",
        "with_strategies",
    ),
    "strategy_sources.worked_solutions": ("strategy_from_solution",),
    "strategy_sources.extraction": ("extract_strategies",),
    "strategy_sources.measure": ("measure_strategies",),
    "mini_gsm.world": ("make_problems", "families_of", "SPLITS"),
    "mini_gsm.reading": ("read_plan",),
    "losses": (
        "token_logps",
        "group_advantages",
        "grpo_loss",
        "forward_kl",
        "reverse_kl",
        "distillation_loss",
        "adaptive_weight",
        "reachable_target",
    ),
    "student": ("Student", "load_student", "new_student", "save_student"),
    "rollout": ("Rollouts", "sample", "score"),
    "evaluation": ("evaluate", "avg_at_k", "pass_at_k", "paired_difference"),
    "support.intervals": ("confidence_interval",),
    "study.transfer_table": ("transfer_rows", "transfer_table"),
    "benchmarks": ("load_benchmark",),
    "support.latex": ("latex_reward",),
    "mini_gsm.strategy_use": ("read_solution_plan", "measure_use"),
    "training": ("Config", "pretrain", "warm_up", "train"),
    "plots": (),  # one function per figure: sgpo_mini.plots.NAME
    "exercises": (),  # one check per exercise: sgpo_mini.exercises.check_NAME
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["REPOSITORY", "__version__", *_MODULE_OF]


def __getattr__(name):
    if name in _PUBLIC:
        return importlib.import_module(f".{name}", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_PUBLIC, *_MODULE_OF})

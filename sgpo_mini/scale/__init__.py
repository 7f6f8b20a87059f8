"""SGPO past one GPU: a trainer on TRL and accelerate, for whoever outgrows `training.py`.

`trainer.py` is the method, `config.py` its settings, `data.py` the data set and the rewards,
`distillation.py` the KL in a model's forward pass, `trl_internals.py` all that is private of TRL,
`train.py` the script. Needs the extra (pip install "sgpo-mini[scale]"); README.md, beside this
file, says how to run it. This wing imports the core and TRL; its script also uses mini-GSM and the
words of the commands' options. Nothing imports this wing.
"""

_WHERE = {"SGPOConfig": "config", "SGPOTrainer": "trainer"}
_WHERE |= dict.fromkeys(("to_dataset", "as_reward_function"), "data")
__all__ = sorted(_WHERE)

MISSING = 'sgpo_mini.scale needs TRL, which is not installed: pip install "sgpo-mini[scale]"'


def __getattr__(name: str):
    """Loads a public name where it is first used: TRL takes seconds to import."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if error.name in ("trl", "accelerate"):
            raise ImportError(MISSING) from None
        raise


def __dir__() -> list[str]:
    return __all__

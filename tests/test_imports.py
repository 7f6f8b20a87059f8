"""Imports run one way: the core knows no wing, a wing only those below it, and no file a circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sgpo_mini"
GROUND = "support"  # part of the core: the files at the top stand on it
# What a wing may import beside the core and itself.
BELOW = {
    "mini_gsm": set(),
    "strategy_sources": set(),
    "plots": set(),
    "study": {"mini_gsm", "strategy_sources", "plots"},
    "exercises": {"mini_gsm", "strategy_sources", "plots", "study"},
    "commands": {"mini_gsm", "strategy_sources", "plots", "study"},
    "scale": {"commands", "mini_gsm"},  # its script reads the same options and data
}
ENTRANCES = {"__init__", "__main__"}  # they open every wing


def module_of(path, package):
    return ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")


def targets(path, package):
    """The modules of the package that a file imports, at its top or inside a function."""
    home = path.relative_to(package).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*home[: len(home) - node.level + 1], *filter(None, [node.module])]
            for alias in node.names:
                named = [*"/".join(base).replace(".", "/").split("/"), alias.name]
                named = [part for part in named if part]
                is_module = package.joinpath(*named).with_suffix(".py").is_file()
                is_module |= package.joinpath(*named, "__init__.py").is_file()
                yield ".".join(named if is_module else named[:-1])


def faults(package):
    """One sentence for each import against the rules."""
    graph = {}
    for path in sorted(package.rglob("*.py")):
        name = module_of(path, package)
        graph[name] = set(targets(path, package)) - {""}
        wing = path.relative_to(package).parts[0] if path.parent != package else ""
        wing = "" if wing == GROUND else wing
        if name in ENTRANCES:
            continue
        for target in sorted(graph[name]):
            other = target.split(".")[0] if (package / target.split(".")[0]).is_dir() else ""
            allowed = {"", wing, GROUND, *BELOW.get(wing, ())}
            if other not in allowed:
                yield f"{wing or 'the core'}: {name} imports {target}"
            if target in ENTRANCES:
                yield f"{name} imports {target}"
    settled, on_the_way = set(), []

    def visit(name):
        if name in on_the_way:
            return [" -> ".join([*on_the_way[on_the_way.index(name) :], name])]
        if name in settled or name not in graph:
            return []
        on_the_way.append(name)
        found = [circle for target in sorted(graph[name]) for circle in visit(target)]
        settled.add(on_the_way.pop())
        return found

    for name in sorted(graph):
        yield from (f"a circle: {circle}" for circle in visit(name))


def test_imports_run_one_way():
    assert list(faults(PACKAGE)) == []


def test_every_wing_has_its_place_in_the_order():
    wings = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert wings == {GROUND, *BELOW}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"losses.py": "from .mini_gsm.world import SPLITS"}, "the core: losses imports mini_gsm."),
        ({"losses.py": "def f():\n    from .study import rows"}, "the core: losses imports study"),
        ({"plots/style.py": "from ..study import rows"}, "plots: plots.style imports study.rows"),
        ({"support/files.py": "from ..study import rows"}, "the core: support.files imports study"),
        ({"rollout.py": "from . import __main__"}, "rollout imports __main__"),
        (
            {"losses.py": "from .config import Config", "config.py": "from .losses import x"},
            "a circle: config -> losses -> config",
        ),
        ({"study/rows.py": "from .runs import x", "study/runs.py": "from . import rows"}, "circle"),
    ],
)
def test_an_import_against_the_rules_is_found(tmp_path, files, found):
    for name in ("mini_gsm/world.py", "study/rows.py", "study/runs.py", "__main__.py", *files):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(files.get(name, ""), encoding="utf-8")
        (path.parent / "__init__.py").touch()
    assert any(found in fault for fault in faults(tmp_path)), list(faults(tmp_path))

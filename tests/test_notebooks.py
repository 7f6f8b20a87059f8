"""Hygiene of the notebooks: what is stored is whole, small and free of this machine, and its links
lead somewhere. That they run and give the stored output is nbval's part."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

import sgpo_mini

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CODE_LINES, SET_UP_LINES, LINE_WIDTH, MARKDOWN_LINES = 15, 20, 100, 45
IGNORED = "# NBVAL_IGNORE_OUTPUT"
IGNORED_SHARE = 0.15
MEBIBYTE = 2**20

# Not after a letter, a colon, a dot or a slash: that would be an address or a relative path.
ABSOLUTE_PATH = re.compile(
    r"(?<![\w:./~])/(?:work|tmp|root|home|opt|usr|var|mnt|content|Users)\b|\b[A-Z]:\\\\?\w"
)
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:href|src)=[\"']([^\"']+)[\"']")
REPOSITORY = re.compile(
    r"(?:github\.com|colab\.research\.google\.com/github|raw\.githubusercontent\.com)"
    r"[/:]([\w.-]+/sgpo_mini)\b"
)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return json.loads(path.read_text(encoding="utf-8"))


def text(lines):
    return lines if isinstance(lines, str) else "".join(lines)


def cells(notebook, kind):
    """(what to call it, source, cell) of the cells of a kind."""
    numbered = enumerate(notebook["cells"])
    return [
        (f"cell {n}: {text(cell['source'])[:60]!r}", text(cell["source"]), cell)
        for n, cell in numbered
        if cell["cell_type"] == kind
    ]


def words_of(notebook):
    """Everything a reader sees, pictures left out: (where, text)."""
    for kind in ("markdown", "code"):
        for where, source, cell in cells(notebook, kind):
            yield where, source
            for output in cell.get("outputs", ()):
                yield f"output of {where}", text(output.get("text", ""))
                yield f"output of {where}", text(output.get("traceback", ""))
                for mime, data in output.get("data", {}).items():
                    if not mime.startswith("image/"):
                        yield f"output of {where}", data if isinstance(data, str) else text(data)


def test_there_are_notebooks():
    assert NOTEBOOKS and NOTEBOOKS[0].name == "00_start_here.ipynb"


def test_kernel_is_python3_and_nothing_of_a_machine_is_stored(notebook):
    metadata = notebook["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert metadata["kernelspec"]["language"] == "python"
    assert set(metadata) <= {"kernelspec", "language_info", "accelerator", "colab"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) >= (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


def test_no_widgets(notebook):
    for where, source, cell in cells(notebook, "code"):
        for output in cell["outputs"]:
            kinds = [mime for mime in output.get("data", {}) if "widget" in mime]
            assert not kinds, where
        assert "ipywidgets" not in source and "tqdm.notebook" not in source, where


def test_executed_in_order_from_a_fresh_kernel(notebook):
    counts = [cell["execution_count"] for _, _, cell in cells(notebook, "code")]
    assert counts == list(range(1, len(counts) + 1))


def test_outputs_are_stored_and_hold_no_error(notebook):
    for where, source, cell in cells(notebook, "code"):
        assert all(output["output_type"] != "error" for output in cell["outputs"]), where
        printed = [o for o in cell["outputs"] if o.get("name") != "stderr"]
        if re.search(r"^(?:.*\b)?(?:print|display|check_\w+)\(", source, re.MULTILINE):
            assert printed or "def " in source, f"{where} has no stored output"
    assert any("image/png" in o.get("data", {}) for *_, c in cells(notebook, "code")
               for o in c["outputs"]), "no figure is stored"  # fmt: skip


def test_cells_are_short(notebook):
    for number, (where, source, _) in enumerate(cells(notebook, "code")):
        lines = source.splitlines()
        assert lines and source == source.strip("\n"), where
        most = CODE_LINES if number else SET_UP_LINES
        assert len(lines) <= most, f"{where} has {len(lines)} lines"
        assert max(map(len, lines)) <= LINE_WIDTH, where
    for where, source, _ in cells(notebook, "markdown"):
        assert source.strip() and len(source.splitlines()) <= MARKDOWN_LINES, where


def test_stored_file_is_small(path):
    assert path.stat().st_size < MEBIBYTE


def test_few_outputs_are_ignored_and_each_is_followed_by_assertions(notebook):
    code = cells(notebook, "code")
    ignored = [i for i, (_, source, _) in enumerate(code) if IGNORED in source]
    assert len(ignored) <= IGNORED_SHARE * len(code)
    for i in ignored:
        where, source, _ = code[i]
        assert source.splitlines()[0] == IGNORED, f"{where}: the mark stands alone on line 1"
        assert "assert " in code[i + 1][1], f"{where} is not followed by assertions"
    assert not re.search(r"NBVAL_(?:SKIP|RAISES|CHECK)|nbval-", json.dumps(notebook["cells"]))


def test_relative_links_lead_to_files(path, notebook):
    for where, source, _ in cells(notebook, "markdown"):
        for groups in LINK.findall(source):
            target = "".join(groups)
            if re.match(r"[a-z][a-z+.-]*:|#", target):
                continue
            file = path.parent / unquote(target.partition("#")[0])
            assert file.resolve().is_relative_to(ROOT), f"{where}: {target} leads out"
            assert file.exists(), f"{where}: {target}"


def test_no_absolute_path(notebook):
    for where, words in words_of(notebook):
        found = ABSOLUTE_PATH.search(words)
        assert not found, f"{where}: {words[found.start() :][:60]!r}"


@pytest.mark.parametrize("bad", ["/work/main/x", "see /tmp/a", '"/root"', "C:\\Users\\me"])
def test_an_absolute_path_would_be_found(bad):
    assert ABSOLUTE_PATH.search(bad)


@pytest.mark.parametrize("good", ["https://a.org/work/x", "../work", "and/or", "a /b", "38 / 2"])
def test_what_is_no_absolute_path_passes(good):
    assert not ABSOLUTE_PATH.search(good)


def test_repository_address(path, notebook):
    found = [
        address.removesuffix(".git")
        for _, words in words_of(notebook)
        for address in REPOSITORY.findall(words)
    ]
    assert set(found) == {sgpo_mini.REPOSITORY}


def test_colab_badge_opens_this_notebook(path, notebook):
    first = text(notebook["cells"][0]["source"])
    address = f"{sgpo_mini.REPOSITORY}/blob/main/notebooks/{path.name}"
    assert f"(https://colab.research.google.com/github/{address})" in first


def set_up_of(notebook):
    return cells(notebook, "code")[0][1]


def test_set_up_is_the_same_everywhere_and_nothing_else_installs(notebook):
    first = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    assert set_up_of(notebook) == set_up_of(first)
    for where, later, _ in cells(notebook, "code")[1:]:
        assert "pip" not in later.split(), where


PLAYER = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
class Shell(InteractiveShell):
    def enable_gui(self, gui=None):
        pass  # nothing draws here
shell = Shell.instance()
for cell in json.loads(sys.argv[1]):
    shell.run_cell(cell).raise_error()
"""
# What a reader may do after it, and where both ways find the package.
AFTERWARDS = """
import json, sgpo_mini
helped = !{sys.executable} -m sgpo_mini --help
child = !{sys.executable} -c "import sgpo_mini; print(sgpo_mini.__file__)"
here = [sgpo_mini.__file__, os.environ.get("PYTHONPATH"), sys.path.count(os.path.abspath(".."))]
print("FOUND", json.dumps([*here, child[-1], " ".join(helped)]))
"""
# Colab, where `pip install` puts the package into the folder `site`.
IN_COLAB = """
import shutil, subprocess, sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
def pip(command, check):
    print("PIP", *command[1:])
    shutil.copytree({package!r}, {site!r} + "/sgpo_mini")
subprocess.run = pip
"""


def play(folder, python_path, *before):
    """Run the set-up cell twice, as Jupyter would in a folder, and what comes after it.

    Returns (pip's command lines, what AFTERWARDS found). `before` are cells that come first.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(python_path)} if python_path else {}
    set_up = set_up_of(json.loads(NOTEBOOKS[0].read_text(encoding="utf-8")))
    told = json.dumps([*before, set_up, set_up, AFTERWARDS])
    ran = subprocess.run(
        [sys.executable, "-c", PLAYER, told],
        cwd=folder,
        env=environment | {"IPYTHONDIR": str(folder / ".ipython"), "MPLBACKEND": ""},
        capture_output=True,
        text=True,
        timeout=300,
        encoding="utf-8",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    (found,) = [line.removeprefix("FOUND ") for line in lines if line.startswith("FOUND ")]
    here, *settings, child, helped = json.loads(found)
    assert here == child, "`import` and `!python` find the same package"
    assert "usage:" in helped and "train" in helped
    return [line for line in lines if line.startswith("PIP ")], [Path(here).parent, *settings]


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def clone(folder):
    """A clone's two folders that count here; returns the one that Jupyter runs notebooks in."""
    shutil.copytree(ROOT / "sgpo_mini", folder / "sgpo_mini")
    (folder / "notebooks").mkdir()
    return folder / "notebooks"


@pytest.mark.parametrize("name, others", [("clone", False), ("a clone with blanks", True)])
def test_set_up_in_a_clone_reaches_imports_and_processes(name, others, tmp_path, site):
    root = tmp_path / name
    installed, (package, python_path, times) = play(clone(root), site if others else None)
    assert not installed and package == root / "sgpo_mini"
    assert python_path.split(os.pathsep) == [str(site)] * others + [str(root)] and times == 1


@pytest.mark.parametrize("beside_a_clone", [False, True])
def test_set_up_leaves_an_installed_package_as_it_is(beside_a_clone, tmp_path, site):
    shutil.copytree(ROOT / "sgpo_mini", site / "sgpo_mini")
    folder = clone(tmp_path / "clone") if beside_a_clone else tmp_path
    installed, found = play(folder, site)
    assert not installed and found == [site / "sgpo_mini", str(site), 0]


@pytest.mark.parametrize("beside_a_clone", [False, True])
def test_set_up_installs_in_colab_unless_there_is_a_clone(beside_a_clone, tmp_path, site):
    """The package, not editable, torch and numpy left as they are."""
    colab = IN_COLAB.format(package=str(ROOT / "sgpo_mini"), site=str(site))
    folder = clone(tmp_path / "clone") if beside_a_clone else tmp_path
    installed, (package, *_) = play(folder, site, colab)
    if beside_a_clone:
        assert not installed and package == tmp_path / "clone" / "sgpo_mini"
        return
    (command,) = installed
    assert package == site / "sgpo_mini"
    assert re.fullmatch(
        r"PIP -m pip install --quiet torch==\S+ numpy==\S+ "
        rf"git\+https://github\.com/{sgpo_mini.REPOSITORY}",
        command,
    )

"""The project's own files agree with each other and with what the package promises."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import sgpo_mini

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "sgpo_mini"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "environment.yml",
    "notebooks",
    "pyproject.toml",
    "requirements.txt",
    "sgpo_mini",
    "tests",
}
FORBIDDEN = {"trl", "vllm", "bitsandbytes", "torchao", "unsloth", "verl", "deepspeed"}
# Each of these is required by a declared one.
# Extras that nothing here needs, so that nothing here pins them, and what they bring.
OPTIONAL = {"math": "math_verify", "scale": "trl"}
BROUGHT_ALONG = {"accelerate", "numpy", "huggingface_hub", "safetensors", "tokenizers"}

PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(PACKAGE.rglob("*.md"))]
]


def git_files(*options):
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    return sorted(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def pins(lines):
    found = {}
    for line in lines:
        name, _, pinned = line.partition("==")
        assert re.fullmatch(r"\d+(\.\d+)+", pinned), f"not an exact version: {line}"
        assert name not in found, f"twice: {name}"
        found[name] = pinned
    return found


def requirements_txt():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return pins(line for line in lines if line and not line.startswith("#"))


def environment_yml():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def declared():
    project = PYPROJECT["project"]
    extras = [v for name, v in project["optional-dependencies"].items() if name not in OPTIONAL]
    return [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]


def module_trees():
    paths = sorted(PACKAGE.rglob("*.py"))
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
    }


def imports(tree):
    """Yields (module, level) of every import in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def fresh_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        encoding="utf-8",
    )


# ---- versions


def test_environment_yml_repeats_requirements_txt():
    pip_section = [item for item in environment_yml()["dependencies"] if isinstance(item, dict)]
    assert [list(item) for item in pip_section] == [["pip"]]
    assert pins(pip_section[0]["pip"]) == requirements_txt()


def test_environment_yml_takes_a_supported_python():
    (python,) = [
        item.removeprefix("python=")
        for item in environment_yml()["dependencies"]
        if isinstance(item, str) and item.startswith("python=")
    ]
    supported = Requirement(f"python{PYPROJECT['project']['requires-python']}").specifier
    assert f"{python}.0" in supported


def test_ranges_admit_the_tested_versions_and_end_before_the_next_major():
    tested = requirements_txt()
    assert {requirement.name for requirement in declared()} == set(tested)
    for requirement in declared():
        pinned = Version(tested[requirement.name])
        assert pinned in requirement.specifier, requirement
        assert str(pinned.major + 1) not in requirement.specifier, requirement
        assert any(part.operator == ">=" for part in requirement.specifier), requirement


def test_the_oldest_versions_tested_are_the_lower_bounds():
    listed = subprocess.run(
        [sys.executable, ".ci/oldest.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    oldest = pins(listed.stdout.splitlines())
    base = {Requirement(line).name for line in PYPROJECT["project"]["dependencies"]}
    assert set(oldest) == base | {"pytest", "nbval"}
    for requirement in declared():
        bounds = [part.version for part in requirement.specifier if part.operator == ">="]
        assert [oldest.get(requirement.name, bounds[0])] == bounds


def test_installed_versions_lie_in_the_ranges():
    for requirement in declared():
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            continue
        assert requirement.specifier.contains(installed, prereleases=True), requirement


def test_no_forbidden_dependency():
    named = {requirement.name for requirement in declared()} | set(requirements_txt())
    imported = {
        module.split(".")[0]
        for name, tree in module_trees().items()
        for module, level in imports(tree)
        if not level and (module.split(".")[0], name.split("/")[1]) != ("trl", "scale")
    }
    assert not FORBIDDEN & (named | imported)


def test_what_the_package_imports_is_declared():
    allowed = {Requirement(line).name for line in PYPROJECT["project"]["dependencies"]}
    allowed |= BROUGHT_ALONG | set(sys.stdlib_module_names) | set(OPTIONAL.values())
    for name, tree in module_trees().items():
        for module, level in imports(tree):
            assert level or module.split(".")[0] in allowed, f"{name} imports {module}"


# ---- the package


def test_import_is_lazy():
    heavy = ["torch", "transformers", "datasets", "peft", "numpy", "matplotlib", "tqdm"]
    done = fresh_python(
        "import json, sys, sgpo_mini; dir(sgpo_mini); sgpo_mini.__all__, sgpo_mini.__version__;"
        "print(json.dumps([name for name in sys.argv[1:] if name in sys.modules]"
        "+ [name for name in sys.modules if name.startswith('sgpo_mini.')]))",
        *heavy,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("name", sgpo_mini.__all__)
def test_public_name_resolves(name):
    assert getattr(sgpo_mini, name) is not None
    assert name in dir(sgpo_mini)


@pytest.mark.parametrize("name", sgpo_mini._PUBLIC)
def test_public_module_is_an_attribute(name):
    assert getattr(sgpo_mini, name).__name__ == f"sgpo_mini.{name}"
    assert name in dir(sgpo_mini)


def test_no_public_name_hides_a_module():
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    wings = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    inside = {f"{path.parent.name}.{path.stem}" for path in PACKAGE.glob("*/*.py")}
    assert set(sgpo_mini._PUBLIC) <= modules | wings | inside
    assert not (modules | wings) & set(sgpo_mini.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sgpo_mini.no_such_name
    with pytest.raises(ImportError):
        from sgpo_mini import no_such_name  # noqa: F401


def test_only_relative_imports_among_its_own_modules():
    for name, tree in module_trees().items():
        depth = name.count("/")  # sgpo_mini/losses.py: 1
        for module, level in imports(tree):
            assert level or module.split(".")[0] != "sgpo_mini", f"{name}: import {module}"
            assert level <= depth, f"{name} imports from outside the package"


def test_every_folder_with_modules_is_packaged():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    named = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == named


def test_nothing_in_the_package_runs_code_from_a_file():
    for name, tree in module_trees().items():
        for module, _ in imports(tree):
            assert module.split(".")[0] not in {"pickle", "dill", "marshal", "shelve"}, name
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            where = f"{name}:{call.lineno}"
            called = ast.unparse(call.func)
            keywords = {word.arg: word.value for word in call.keywords}
            assert called not in {"eval", "exec", "compile", "__import__"}, where
            if called == "torch.load":
                weights_only = keywords.get("weights_only")
                assert isinstance(weights_only, ast.Constant), where
                assert weights_only.value is True, where
            trust = keywords.get("trust_remote_code")
            assert trust is None or (isinstance(trust, ast.Constant) and not trust.value), where


# ---- the checkout


def test_top_level_holds_nothing_else():
    assert {name.split("/")[0] for name in git_files()} <= TOP_LEVEL


def test_repository_address_is_the_same_everywhere():
    owner_and_name = re.compile(
        rf"(?:github\.com|colab\.research\.google\.com/github|raw\.githubusercontent\.com)"
        rf"[/:]([\w.-]+/{re.escape(sgpo_mini.REPOSITORY.split('/')[1])})\b"
    )
    urls = PYPROJECT["project"]["urls"]
    assert urls["Repository"] == f"https://github.com/{sgpo_mini.REPOSITORY}"
    for name in git_files("--cached", "--others", "--exclude-standard"):
        if Path(name).suffix not in {".py", ".md", ".toml", ".yml", ".ipynb", ".txt"}:
            continue
        for found in owner_and_name.findall((ROOT / name).read_text(encoding="utf-8")):
            assert found.removesuffix(".git") == sgpo_mini.REPOSITORY, name


def test_ci_runs_the_test_command_of_the_readme():
    command = "pytest --nbval notebooks/ tests/"
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_readme_fits_one_sitting():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_layout_in_the_readme_names_every_file_and_wing():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## Layout\n")[1].split("\n## ")[0]
    first = [row.split("|")[1] for row in section.splitlines() if row.startswith("| ")]
    named = re.findall(r"`([\w/.]+)`", " ".join(first))
    wings = {f"{path.name}/" for path in PACKAGE.iterdir() if any(path.glob("*.py"))}
    assert sorted(named) == sorted({p.name for p in PACKAGE.glob("*.py")} | wings | {"results/"})


def without_code(path):
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(path):
    """What a link to a heading of a Markdown file ends in, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)", without_code(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_of_the_pages_lead_to_files_and_headings(name):
    path = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        leads_to = (path.parent / file).resolve() if file else path
        assert leads_to.exists() and leads_to.is_relative_to(ROOT), target
        assert not heading or heading in anchors(leads_to), target


def test_links_of_the_notebooks_lead_to_headings_of_the_pages():
    links = [
        (path.name, path.parent / file, heading)
        for path in (ROOT / "notebooks").glob("*.ipynb")
        for file, heading in re.findall(r"\]\(([^)\s#]+\.md)#([^)\s]+)\)", path.read_text("utf-8"))
    ]
    assert links
    for name, page, heading in links:
        assert heading in anchors(page), (name, heading)


def test_ci_runs_the_tests_with_the_oldest_versions_and_on_other_systems():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    commands = {
        (system, step["run"])
        for job in workflow["jobs"].values()
        for system in job.get("strategy", {}).get("matrix", {}).get("os", [job["runs-on"]])
        for step in job["steps"]
        if "run" in step
    }
    expected = {("ubuntu-latest", ".ci/run"), ("ubuntu-latest", ".ci/run oldest")}
    expected |= {(f"{name}-latest", "python -m pytest tests/") for name in ("windows", "macos")}
    assert expected <= commands


def test_wheel_holds_the_whole_package(tmp_path):
    pytest.importorskip("setuptools", minversion="77.0.3", reason="builds with setuptools")
    # From a copy: a build inside the checkout would leave folders there.
    source = tmp_path / "source"
    wanted = git_files("--cached", "--others", "--exclude-standard")
    for name in wanted:
        if name.startswith("sgpo_mini/") or name in {"pyproject.toml", "README.md", "LICENSE"}:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        + ["--wheel-dir", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
        timeout=300,
        encoding="utf-8",
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("sgpo_mini-*.whl")
    assert wheel.name.startswith(f"sgpo_mini-{sgpo_mini.__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/")}
        (metadata_name,) = [name for name in held if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(metadata_name).decode()
    package = {name for name in held if name.startswith("sgpo_mini/")}
    assert package == {name for name in wanted if name.startswith("sgpo_mini/")}
    assert any(name.startswith("sgpo_mini/mini_gsm/tiny_student/") for name in package)
    assert any(name.endswith(".safetensors") for name in package)
    assert any(name.startswith("sgpo_mini/results/") for name in package)
    assert {name.split("/")[0] for name in held - package} == {metadata_name.split("/")[0]}
    assert "License-Expression: MIT" in metadata


def test_package_copied_alone_works(tmp_path):
    """Every module imports from a folder that holds the package and nothing else."""
    for name in git_files("--cached", "--others", "--exclude-standard"):
        if name.startswith("sgpo_mini/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    code = """
import importlib, pathlib, sys
sys.path.insert(0, sys.argv[1])
import sgpo_mini
assert pathlib.Path(sgpo_mini.__file__).is_relative_to(sys.argv[1])
for path in sorted(pathlib.Path(sys.argv[1], "sgpo_mini").glob("[!_]*.py")):
    importlib.import_module(f"sgpo_mini.{path.stem}")
"""
    done = fresh_python(code, str(tmp_path))
    assert done.returncode == 0, done.stderr

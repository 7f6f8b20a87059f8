"""The wing's page: its tables are those of the scripts and files that it names."""

import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import sgpo_mini
from sgpo_mini.scale import train

PACKAGE = Path(sgpo_mini.__file__).parent
PAGE = (PACKAGE / "scale" / "README.md").read_text(encoding="utf-8")
CONFIGS = sorted((PACKAGE / "scale" / "configs").glob("*.yaml"))


@pytest.fixture
def script(monkeypatch):
    """Imports a file of tests/benchmarks."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    yield lambda name: __import__(name)
    for name in ("scale_reckoning", "scale_cost"):
        sys.modules.pop(name, None)


def test_the_reckoning_is_what_its_script_prints(script):
    reckoning = script("scale_reckoning")
    assert reckoning.memory_table() in PAGE
    assert reckoning.hours_table() in PAGE


def test_what_the_page_concludes_from_the_reckoning(script):
    reckoning = script("scale_reckoning")
    small, large = reckoning.MODELS
    need = large.state() / 4 + 2 * large.activations(reckoning.LONGEST)
    assert 0.8 < need / reckoning.MEMORY < 0.9
    assert large.state() / 3 + 2 * large.activations(reckoning.LONGEST) > 0.95 * reckoning.MEMORY
    assert small.state() + 2 * small.activations(reckoning.LONGEST) < 0.9 * reckoning.MEMORY

    def hours(tokens):
        seconds = large.learning_seconds(tokens) + large.writing_seconds(tokens)
        return reckoning.PROBLEMS * seconds / 3600 / 32

    assert hours(24_000) == pytest.approx(17, rel=0.05)
    assert 2 * hours(16_000) == pytest.approx(17, rel=0.06)
    assert 21 * hours(4_000) == pytest.approx(17, rel=0.06)


def test_the_learning_is_within_the_spread_and_the_page_says_what_the_file_does():
    results = json.loads((PACKAGE / "results" / "scale-learning.json").read_text(encoding="utf-8"))
    assert (len(results["ours"]), len(results["trl"]), results["steps"]) == (5, 2, 60)
    for name, told in results["verdict"].items():
        low, high = told["one_more_seed"]
        assert all(low <= value <= high for value in told["trl"])
        assert min(told["trl"]) > results["start"][name] + 0.1
        mean, deviation = told["ours"]
        row = f"| {mean:.3f} ± {deviation:.3f} | {low:.3f} to {high:.3f} | "
        assert row + ", ".join(f"{value:.3f}" for value in told["trl"]) in PAGE


def test_every_file_of_accelerates_is_in_the_page_and_whole():
    assert {path.name for path in CONFIGS} == set(re.findall(r"^\| `(\w+\.yaml)`", PAGE, re.M))
    kinds = {"gpus": "MULTI_GPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}
    for path in CONFIGS:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert settings["distributed_type"] == kinds.get(path.stem, "MULTI_GPU")
        assert {"num_processes", "num_machines", "machine_rank", "mixed_precision"} <= set(settings)


def test_accelerate_reads_its_files():
    config_args = pytest.importorskip("accelerate.commands.config.config_args")
    for path in CONFIGS:
        config = config_args.ClusterConfig.from_yaml_file(str(path))
        assert config.num_processes == (2 if "cpu" in path.name else 8)


def test_the_options_and_settings_of_the_page_exist():
    commands = re.findall(r"sgpo_mini\.scale\.train((?:[^`\n]|\\\n)*)", PAGE)
    options = {word for text in commands for word in re.findall(r"--[\w-]+", text)}
    known = {action for a in train._parser()._actions for action in a.option_strings}
    assert options and options <= known
    named = {name for name, _ in re.findall(r"--trl (\w+)=(\S+)", PAGE)} - {"NAME"}
    pytest.importorskip("trl")
    from sgpo_mini.scale import config

    assert named and named <= {field.name for field in fields(config.SGPOConfig)}

"""rows.py and report.py: what each row changes; the report, of runs that are made up here."""

import bz2
import json
import re
import shutil
import statistics
from dataclasses import asdict
from pathlib import Path

import pytest
from made_up_runs import make_up

from sgpo_mini.__main__ import main
from sgpo_mini.commands.compare import _rows
from sgpo_mini.mini_gsm.pretraining import SETTINGS
from sgpo_mini.mini_gsm.strategy_use import KINDS
from sgpo_mini.mini_gsm.world import EXAMS, make_problems
from sgpo_mini.strategy_sources.controls import CONTROLS
from sgpo_mini.study import report as comparison
from sgpo_mini.study.evaluations import answers_path, read_answers
from sgpo_mini.study.packed_runs import pack_run, read_packed
from sgpo_mini.study.report import (
    gaps,
    report_comparison,
    rival_of,
    run_comparison,
)
from sgpo_mini.study.rows import BASELINE, EVALUATED, ROWS, config_of
from sgpo_mini.support.files import read_rows
from sgpo_mini.support.intervals import confidence_interval

ABLATIONS = {
    "no-grpo": {"autonomous_grpo": False},
    "no-clipping": {"delta": None},
    "no-selection": {"select_target": False},
    "fixed-alpha": {"fixed_alpha": 0.5},
    "no-constraints": {"delta": None, "select_target": False, "fixed_alpha": 0.5},
    "reverse-kl": {"reverse_kl": True},
    "sft-on-target": {"sft_on_target": True},
    "sgpo-delta-1": {"delta": 1.0},
    "shuffled": {},  # the control changes the problems, not the settings
    "contentless": {},
    "wrong-25": {},
    "wrong-50": {},
    "half": {"grpo_without_strategy": True},
    "long-sgpo": {"steps": 90},
    "easy-sgpo": {"split": "easy"},
}


def test_the_rows_name_every_control_once():
    told = [row.control for row in ROWS.values() if row.control]
    assert sorted(told) == sorted(CONTROLS)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_possible_and_told(name):
    config_of(name).check()
    assert ROWS[name].group in ("baseline", "ablation", "control") and len(ROWS[name].about) > 10


@pytest.mark.parametrize(("name", "changes"), ABLATIONS.items())
def test_an_ablation_or_control_is_sgpo_but_for_what_it_is_named_after(name, changes):
    assert asdict(config_of(name)) == asdict(config_of("sgpo")) | changes


def test_every_method_learns_from_twelve_solutions_a_problem_but_grpo_with_eight():
    for name in ROWS:
        config = config_of(name)
        own, guided = config.group_sizes()
        given = {"luffy": 1, "sft": 12}.get(config.method, 0)
        assert own + guided + given == (8 if name == "grpo-8" else 12), name


def test_given_solutions_come_in_two_kinds():
    for method in ("sft", "luffy", "hpt"):
        kinds = [config_of(name).given_solution for name in (method, f"{method}-own-form")]
        assert kinds == ["expert_solution", "solution"]


def test_a_row_has_its_methods_settings_and_the_steps_that_were_asked_for():
    assert config_of("sgpo").delta == SETTINGS["sgpo"]["delta"]
    assert config_of(BASELINE).learning_rate == SETTINGS["grpo"]["learning_rate"]
    assert config_of("sgpo", steps=7).steps == 7 and config_of("sgpo", "folder").student == "folder"
    assert config_of("sft").early_stop and config_of("sft").evaluate_every
    with pytest.raises(ValueError, match="some of grpo, sft, .*, not 'gpro'"):
        config_of("gpro")


def test_the_command_line_names_rows(tmp_path, capsys):
    assert _rows("all") == list(ROWS) and _rows("sgpo, luffy") == ["sgpo", "luffy"]
    assert main(["compare", "--methods", "sgpo,gpro", "--out", str(tmp_path / "x")]) == 2
    assert "not 'gpro'" in capsys.readouterr().err and not (tmp_path / "x").exists()


# The report


NAMES = ["grpo", "sft", "sgpo", "shuffled"]
RUNS = [f"{name}-{seed}" for name in NAMES for seed in (0, 1)]


def make_up_all(folder: Path) -> None:
    make_up(folder / "base", lambda n: n % 4 == 0)
    for seed in (0, 1):
        runs = {name: folder / f"{name}-{seed}" for name in NAMES}
        make_up(runs["grpo"], lambda n: n % 2 == 0, entropy=0.5, alpha=0.0)
        nothing = {"entropy": None, "alpha": 0.0, "given_tokens": 70}
        make_up(runs["sft"], lambda n, seed=seed: n % (3 + seed) == 0, **nothing)
        make_up(runs["sgpo"], lambda n, seed=seed: n % 5 > seed, entropy=0.4, alpha=0.3)
        make_up(runs["shuffled"], lambda n: n % 2 == 0, entropy=0.5, alpha=0.1)


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("comparison")

    def made_up(configs, seeds, folder, splits, controls, when_done):
        assert list(configs) == NAMES and splits == EVALUATED and seeds == (0, 1)
        make_up_all(folder)
        for run in ("base", *RUNS):
            when_done(folder / run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sgpo_mini.study.comparison.compare", made_up)
        methods = ["sft", "sgpo", "shuffled"]
        text = run_comparison(out, methods, seeds=(0, 1), command="COMMAND")
    return out, text


def tables_of(text: str) -> list[list[list[str]]]:
    """Every table of the report: its lines without the second, each a list of cells."""
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    cells = [[line.strip("|").split("|") for line in table.splitlines()] for table in tables]
    return [[[c.strip() for c in row] for row in [table[0], *table[2:]]] for table in cells]


def found_in(out: Path) -> dict:
    return json.loads((out / "comparison.json").read_text(encoding="utf-8"))


def test_a_row_is_compared_with_grpo_on_the_same_problems():
    assert {name: rival_of(name) for name in ("sgpo", "grpo-equal-time", "hard-sgpo")} == {
        "sgpo": "grpo",
        "grpo-equal-time": "grpo",
        "hard-sgpo": "hard-grpo",
    }
    for name in ROWS:
        assert config_of(name).split == config_of(rival_of(name)).split
        assert config_of(rival_of(name)).method == "grpo" and rival_of(rival_of(name)) in ROWS


def test_the_report_has_a_line_a_row_with_chance_base_and_ceiling(reported):
    out, text = reported
    assert (out / "report.md").read_text(encoding="utf-8") == text and "`COMMAND`" in text
    titles, *lines = tables_of(text)[0]
    assert titles == ["row", "what it is", *(f"`{split}`" for split in EXAMS)]
    assert [line[0] for line in lines] == ["chance", "base", *NAMES, "ceiling"]
    assert lines[0][2] == "3.8" and lines[1][2] == "25.0" and lines[2][2] == "50.0"
    assert "<br>" not in " ".join(lines[2]) and lines[5][2] == "50.0<br>+0.0 (+0.0 to +0.0)"
    titles, *lines = tables_of(text)[1]
    assert titles[-3:] == ["sampled tokens", "given tokens", "seconds"]
    assert [line[0] for line in lines] == ["base", *NAMES]
    assert lines[2][-3:] == ["2,000", "1,400", "10"] and lines[1][1:3] == ["50.0", "50.0"]


def test_differences_are_paired_by_seed_to_the_rival(reported):
    out, text = reported
    found = found_in(out)
    for split in EXAMS:
        numbers = range(len(make_problems(split)))
        expected = [
            statistics.mean((n % 5 > seed) - (n % 2 == 0) for n in numbers) for seed in (0, 1)
        ]
        assert gaps(found, "sgpo", split) == pytest.approx(expected)
        low, high = confidence_interval(expected, over="seeds")
        mean = statistics.mean(expected)
        told = f"<br>{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        cell = tables_of(text)[0][5][2 + EXAMS.index(split)]
        assert cell.endswith(told)


def test_the_report_says_how_many_differences_leave_out_zero_by_chance(reported):
    _, text = reported
    assert f"shows {3 * len(EXAMS)} differences" in text
    assert re.search(r"about 1 of their 95 % intervals would exclude 0 by chance; \d+ do\.", text)


def test_with_one_seed_no_interval_stands_beside_a_difference(reported, tmp_path):
    out, _ = reported
    made = json.loads((out / "made.json").read_text(encoding="utf-8")) | {"seeds": [1]}
    (tmp_path / "made.json").write_text(json.dumps(made), encoding="utf-8")
    shutil.copy(out / "timings.json", tmp_path)
    shutil.copytree(out / "logs", tmp_path / "logs")
    text = report_comparison(tmp_path)
    assert "**This is one seed (1).**" in text and "by chance" not in text
    assert "paper's claims" not in text
    assert tables_of(text)[0][5][2] == "60.0<br>+10.0"
    assert found_in(tmp_path)["seeds"] == [1]


def test_rows_that_others_are_compared_with_are_always_run(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "sgpo_mini.study.comparison.compare", lambda configs, *_, **told: asked.append(configs)
    )
    with pytest.raises(ValueError, match="holds no finished run grpo-0"):
        run_comparison(tmp_path, ["hard-sgpo", "half", "half"])
    assert [list(configs) for configs in asked] == [["grpo", "hard-grpo", "hard-sgpo", "half"]]


def test_the_use_of_strategies_is_told_of_two_splits(reported):
    _, text = reported
    for title, *lines in tables_of(text)[2:4]:
        assert title[1:-1] == list(KINDS) and [line[0] for line in lines] == ["base", *NAMES]
        assert lines[1][1:] == ["50.0", "0.0", "0.0", "0.0", "0.0", "50.0", "100.0"]


def test_every_group_has_its_figures_even_of_short_runs(reported):
    out, text = reported
    drawn = {path.stem for path in (out / "figures").glob("*.png")}
    expected = {f"{kind}-{group}" for kind in ("accuracy", "entropy", "alpha", "gain")
                for group in ("baseline", "control")}  # fmt: skip
    assert drawn == expected | {"plans"}
    assert all(f"](figures/{name}.png)" in text for name in drawn)


# What is packed


def test_what_is_packed_of_a_run_is_its_settings_log_and_answers(reported):
    out, _ = reported
    assert {path.name for path in (out / "logs").iterdir()} == {
        f"{run}.json.bz2" for run in ("base", *RUNS)
    }
    packed = read_packed(out, "sgpo-1")
    assert packed.metrics == read_rows(out / "sgpo-1" / "metrics.jsonl")
    assert (
        packed.asked
        == json.loads((out / "sgpo-1" / "evaluated.json").read_text(encoding="utf-8"))["asked"]
    )
    assert len(packed.answers) == 2 * len(EVALUATED)
    for (split, guided), answers in packed.answers.items():
        assert answers == read_answers(out / "sgpo-1", split, guided)
    times = json.loads((out / "timings.json").read_text(encoding="utf-8"))
    assert times["sgpo-1"] == {"sampled tokens": 2000, "seconds": 10.0} and set(times) == set(RUNS)


def test_a_run_without_sampled_answers_is_not_packed(reported, tmp_path):
    out, _ = reported
    run = shutil.copytree(out / "sgpo-1", tmp_path / "sgpo-1")
    (run / "answers" / "longer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"longer\.json"):
        pack_run(run, tmp_path)
    assert not (tmp_path / "logs").exists()


def test_equal_runs_are_packed_to_equal_files_however_long_they_took(reported, tmp_path):
    out, _ = reported
    again = Path(shutil.copytree(out / "sgpo-1", tmp_path / "sgpo-1"))
    slower = (
        (again / "timings.jsonl")
        .read_text(encoding="utf-8")
        .replace('"seconds": 0.5', '"seconds": 2.0')
    )
    (again / "timings.jsonl").write_text(slower, encoding="utf-8")
    pack_run(again, tmp_path)
    first, second = (folder / "logs" / "sgpo-1.json.bz2" for folder in (out, tmp_path))
    assert first.read_bytes() == second.read_bytes()
    assert (
        json.loads((tmp_path / "timings.json").read_text(encoding="utf-8"))["sgpo-1"]["seconds"]
        == 40
    )


def test_a_completion_of_any_kind_is_restored_to_the_letter(reported, tmp_path):
    out, _ = reported
    run = tmp_path / "base"
    shutil.copytree(out / "base", run)
    path = answers_path(run, "test", False)
    rows = read_rows(path)
    for row, text in zip(rows, ("", "a\n\nb – “c”", " "), strict=False):
        row |= {"completion": text, "truncated": True}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pack_run(run, tmp_path)
    assert read_packed(tmp_path, "base").answers["test", False] == read_answers(run, "test", False)


def test_all_is_made_again_from_what_is_packed_alone(reported, tmp_path, capsys):
    out, _ = reported
    shutil.copytree(out / "logs", tmp_path / "logs")
    for name in ("made.json", "timings.json"):
        shutil.copy(out / name, tmp_path)
    assert main(["compare", "--report", str(tmp_path)]) == 0
    assert str(tmp_path / "report.md") in capsys.readouterr().out
    made = ["comparison.json", "report.md"]
    made += [f"figures/{path.name}" for path in (out / "figures").iterdir()]
    for name in made:
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_each_run_is_packed_as_it_finishes_and_no_report_is_made_of_a_part(
    tmp_path, monkeypatch, capsys
):
    def stopped(configs, seeds, folder, splits, controls, when_done):
        make_up(folder / "base", lambda n: n % 4 == 0)
        when_done(folder / "base")
        assert (folder / "logs" / "base.json.bz2").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr("sgpo_mini.study.comparison.compare", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_comparison(tmp_path, ["sgpo"])
    assert main(["compare", "--report", str(tmp_path)]) == 2
    assert "made.json is missing: this is no finished comparison" in capsys.readouterr().err


def test_a_packed_run_that_is_missing_or_of_another_world_is_refused(reported, tmp_path):
    out, _ = reported
    with pytest.raises(ValueError, match="holds no finished run sgpo-7"):
        read_packed(out, "sgpo-7")
    packed = json.loads(bz2.decompress((out / "logs" / "base.json.bz2").read_bytes()))
    packed["problems"]["unseen"] = "0" * 64
    (tmp_path / "logs").mkdir()
    content = bz2.compress(json.dumps(packed).encode())
    (tmp_path / "logs" / "base.json.bz2").write_bytes(content)
    with pytest.raises(ValueError, match=r"answers to other problems \(unseen\)"):
        read_packed(tmp_path, "base")


def test_the_claims_are_told_where_all_rows_were_run(reported, tmp_path, monkeypatch):
    out, text = reported
    assert "paper's claims" not in text
    for name in ("made.json", "timings.json"):
        shutil.copy(out / name, tmp_path)
    shutil.copytree(out / "logs", tmp_path / "logs")
    monkeypatch.setattr(comparison, "ROWS", {name: ROWS[name] for name in NAMES})
    monkeypatch.setattr(comparison, "claims_table", lambda folder: f"CLAIMS of {folder}")
    told = report_comparison(tmp_path)
    assert f"## The paper's claims\n\nCLAIMS of {tmp_path}\n" in told

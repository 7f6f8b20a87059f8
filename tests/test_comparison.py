"""rows.py and comparison.py: what each row changes; the report, of runs that are made up here."""

import gzip
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from quick_student import DIFFICULTY, HARD

from sgpo_mini import comparison
from sgpo_mini.__main__ import _rows, main
from sgpo_mini.compare import answers_path
from sgpo_mini.comparison import run_comparison
from sgpo_mini.make_tiny import SETTINGS
from sgpo_mini.mini_gsm import make_problems
from sgpo_mini.rows import BASELINE, ROWS, config_of

SPLITS = ("test", "composed")
ABLATIONS = {
    "no-grpo": {"autonomous_grpo": False},
    "no-clipping": {"delta": None},
    "no-selection": {"select_target": False},
    "fixed-alpha": {"fixed_alpha": 0.5},
    "no-constraints": {"delta": None, "select_target": False, "fixed_alpha": 0.5},
    "reverse-kl": {"reverse_kl": True},
    "sft-on-target": {"sft_on_target": True},
    "sgpo-delta-1": {"delta": 1.0},
    "shuffled": {"wrong_strategies": 1.0},
    "contentless": {"contentless_strategies": True},
    "wrong-25": {"wrong_strategies": 0.25},
    "wrong-50": {"wrong_strategies": 0.5},
}


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
    with pytest.raises(ValueError, match="some of sft\\+grpo, sft, .*, not 'gpro'"):
        config_of("gpro")


def test_the_command_line_names_rows(tmp_path, capsys):
    assert _rows("all") == list(ROWS) and _rows("sgpo, luffy") == ["sgpo", "luffy"]
    assert main(["compare", "--methods", "sgpo,gpro", "--out", str(tmp_path / "x")]) == 2
    assert "not 'gpro'" in capsys.readouterr().err and not (tmp_path / "x").exists()


# The report


def make_up(folder: Path, right, steps: int = 20, **logged) -> None:
    """A finished run that solves the problems for which right(number) is true."""
    for split in SPLITS:
        for guided in (False, True):
            path = answers_path(folder, split, guided)
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = []
            for number, problem in enumerate(make_problems(split)):
                row = {"id": problem.id, "correct": bool(right(number)), "truncated": False}
                row["completion"] = problem.solution if row["correct"] else "#### 1"
                rows.append(json.dumps(row) + "\n")
            path.write_text("".join(rows))
    if not logged:
        return
    log = [{"step": step, **logged} for step in range(1, steps + 1)]
    log[-1]["validation_accuracy"] = 0.5
    times = [{"step": r["step"], "seconds": 0.5, "sampled_tokens": 100} for r in log]
    for name, made in (("metrics", log), ("timings", times)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    (folder / "evaluated.json").write_text("{}")


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("comparison")
    student = tmp_path_factory.mktemp("student")
    (student / "measured.json").write_text(json.dumps({"unguided_by_family": DIFFICULTY}))

    def made_up(configs, seeds, folder, splits):
        assert list(configs) == ["sft+grpo", "sft", "sgpo", "shuffled"] and splits == SPLITS
        make_up(folder / "base", lambda n: n % 4 == 0)
        for seed in seeds:
            runs = {name: folder / f"{name}-{seed}" for name in configs}
            make_up(runs["sft+grpo"], lambda n: n % 2 == 0, entropy=0.5, alpha=0.0)
            nothing = {"entropy": None, "alpha": 0.0, "given_tokens": 70}
            make_up(runs["sft"], lambda n, seed=seed: n % (3 + seed) == 0, **nothing)
            make_up(runs["sgpo"], lambda n, seed=seed: n % 5 > seed, entropy=0.4, alpha=0.3)
            make_up(runs["shuffled"], lambda n: n % 2 == 0, entropy=0.5, alpha=0.1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "compare", made_up)
        patch.setattr(comparison, "EVALUATED", SPLITS)
        text = run_comparison(
            out, ["sft", "sgpo", "shuffled"], seeds=(0, 1), student=str(student), command="COMMAND"
        )
    return out, text


def test_the_report_has_one_table_with_a_line_a_row_and_prompt(reported):
    out, text = reported
    assert (out / "report.md").read_text() == text and "`COMMAND`" in text
    header, _, *lines = [line for line in text.split("\n") if line.startswith("|")][:12]
    titles = [cell.strip() for cell in header.strip("|").split("|")]
    for split in SPLITS:
        assert any(title.startswith(f"{split} (") for title in titles)
    assert titles[-4:] == ["what it is", "sampled tokens", "given tokens", "seconds"]
    names = [line.split("|")[1].strip() for line in lines]
    assert names == [n for n in ("base", "sft+grpo", "sft", "sgpo", "shuffled") for _ in range(2)]
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert cells[-3:] == ["2,000", "1,400", "10"] and cells[2].count("<br>") == 1
    assert "<br>" not in lines[2] and ", ".join(sorted(HARD)) in text
    assert "| sft+grpo | 50.0 | 100.0 | 50.0 |" in text, "plan, calculation, unreadable"


def test_differences_are_paired_to_the_baseline(reported):
    out, _ = reported
    rows = json.loads((out / "comparison.json").read_text())
    for row in rows:
        assert set(row["differences"]) == {"sft", "sgpo", "shuffled"}
        assert row["differences"]["shuffled"][0] == row["difference"][0] == 0
        assert row["differences"]["sgpo"][0] == pytest.approx(row["sgpo"][0] - row["sft+grpo"][0])
        accuracies = row["accuracy_per_seed"]["sgpo"]
        assert sum(accuracies) / len(accuracies) == pytest.approx(row["sgpo"][0])


def test_every_group_has_its_figures_and_every_run_its_packed_log(reported):
    out, text = reported
    drawn = {path.stem for path in (out / "figures").glob("*.png")}
    expected = {f"{kind}-{group}" for kind in ("accuracy", "entropy", "alpha", "gain")
                for group in ("baseline", "control")}  # fmt: skip
    assert drawn == expected | {"plans-base", "plans-sft+grpo", "plans-sgpo"}
    assert all(f"](figures/{name}.png)" in text for name in drawn)
    packed = out / "logs" / "sft-1.jsonl.gz"
    assert gzip.decompress(packed.read_bytes()) == (out / "sft-1" / "metrics.jsonl").read_bytes()
    assert len(list((out / "logs").iterdir())) == 8

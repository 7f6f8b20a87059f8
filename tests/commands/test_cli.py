"""The command line: what it refuses and how, what each command leaves, how it is stopped."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from quick_student import save_quick_student
from small_world import STRATEGY, pretrained_student, problems
from transformers import AutoModelForCausalLM, AutoTokenizer

from sgpo_mini.__main__ import _parser, main
from sgpo_mini.commands.options import SETTINGS
from sgpo_mini.evaluation import pass_at_k
from sgpo_mini.mini_gsm import pretraining
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.problems import load_problems
from sgpo_mini.student import load_student, save_student
from sgpo_mini.support.files import read_rows
from sgpo_mini.training import Config

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "sgpo_mini"]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def even_student(tmp_path_factory) -> str:
    """The folder of the student that names numbers: 2 is right, and guided it is likelier."""
    folder = tmp_path_factory.mktemp("even")
    save_student(pretrained_student(), folder)
    return str(folder)


@pytest.fixture(scope="module")
def story_student(tmp_path_factory) -> str:
    """The folder of the student that guesses the answers of mini-GSM."""
    return str(save_quick_student(tmp_path_factory.mktemp("stories")))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return write_problems(tmp_path_factory.mktemp("data") / "even.jsonl", strategy=True)


def write_problems(path: Path, strategy: bool) -> str:
    rows = [asdict(problem) for problem in problems(10)]
    for row in rows:
        row["strategy"] = row["strategy"] if strategy else ""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Nothing is written into the checkout, and a test's thread count stays its own."""
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def refused(run):
    """Call what has to be refused: the one sentence."""

    def call(*arguments) -> str:
        before = sorted(Path().rglob("*"))
        status, out, err = run(*arguments)
        assert status == 2, err
        assert out == "" and err.startswith("sgpo_mini: ") and err.count("\n") == 1
        assert err.endswith("\n") and "Traceback" not in err
        assert sorted(Path().rglob("*")) == before, "something was written"
        return err

    return call


TRAIN = ("train", "--steps", 2, "--max-new-tokens", 16, "--learning-rate", 1e-3)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("lern", "choose from"),
        ("train --method ppo", "one of sgpo, grpo, sft, luffy, hpt, not 'ppo'"),
        ("train --steps 0", "steps must be at least 1"),
        ("train --steps -3", "steps must be at least 1"),
        ("train --steps two", "--steps: must be a whole number, not 'two'"),
        ("train --steps 1.5", "whole number"),
        ("train --problems-per-step 0", "problems_per_step must be at least 1"),
        ("train --learning-rate -0.1", "learning_rate must be above 0"),
        ("train --learning-rate nan", "--learning-rate: must be a finite number, not 'nan'"),
        ("train --learning-rate fast", "must be a finite number, not 'fast'"),
        ("train --temperature 0", "temperature must be above 0"),
        ("train --temperature inf", "finite"),
        ("train --delta x", "--delta: must be a number or none, not 'x'"),
        ("train --delta nan", "delta must be above 0 and finite"),
        ("train --delta 0", "delta must be above 0"),
        ("train --fixed-alpha -1", "fixed_alpha must be at least 0"),
        ("train --max-new-tokens 0", "max_new_tokens must be at least 1"),
        ("train --autonomous-rollouts 1", "autonomous_rollouts must be at least 2"),
        ("train --lora-rank -1", "lora_rank must be at least 0"),
        ("train --threads -1", "threads must be at least 0"),
        ("train --normalize-target max", "sum or mean"),
        ("train --no-autonomous-grpo --no-strategy-distillation", "nothing is learnt"),
        ("train --data gsm9k", "mini-gsm, gsm8k or a file that ends in .jsonl, .json"),
        ("train --data gsm9k", ".csv, .tsv or .parquet, not 'gsm9k'"),
        (
            "train --answer-column solution",
            "mini-gsm has no --answer-column: use them with a FILE only",
        ),
        ("train --data gone.PARQUET", "gone.PARQUET can't be read (No such file or directory)"),
        ("evaluate --data gsm8k --question-column q", "gsm8k has no --question-column"),
        ("evaluate --data some.CSV --split test", "some.CSV has no splits"),
        ("pretrain --question-column q", "has no --question-column"),
        ("strategies --source solution --data gsm8k --answer-column a", "has no --answer-column"),
        ("strategies --source subquestions --data gsm8k --answer-column a", "has no --answer-col"),
        ("strategies --inspect s.jsonl --answer-column a", "without --data has no --answer-column"),
        (
            "train --split composed",
            "mini-gsm's splits for training are train, easy, hard, not 'composed'",
        ),
        ("train --data gone.jsonl", "gone.jsonl can't be read"),
        ("train --student no/such-student", "no student can be loaded from 'no/such-student'"),
        ("train --strategies gone.jsonl", "gone.jsonl can't be read"),
        ("train --resume --out gone", "gone holds no run to resume"),
        ("train --resume", "runs/sgpo-0 holds no run to resume"),
        ("train --step 2", "there is no option --step 2 (see python -m sgpo_mini train --help)"),
        ("train --student", "--student: expected one argument"),
        ("evaluate --samples 0", "--samples: must be a whole number of at least 1"),
        ("evaluate --samples 2", "temperature above 0"),
        ("evaluate --temperature -1", "must be a finite number of at least 0"),
        ("evaluate --temperature nan", "must be a finite number of at least 0"),
        ("evaluate --top-p 1.5", "top_p must be above 0 and at most 1, not 1.5"),
        ("evaluate --top-p 0", "must be a finite number above 0"),
        ("evaluate --limit -1", "must be a whole number of at least 0"),
        ("evaluate --batch-size 0", "must be a whole number of at least 1"),
        ("evaluate --split nonsense", "no split 'nonsense'; choose one of train, validation, test"),
        ("evaluate --data gsm8k --split dev", "no split 'dev'; choose one of train, test"),
        ("evaluate --data some.jsonl --split test", "some.jsonl has no splits"),
        ("evaluate --prompt loud", "invalid choice: 'loud'"),
        ("evaluate --student no/such-student", "no student can be loaded"),
        ("pretrain --steps 0", "whole number of at least 1, not '0'"),
        ("pretrain --lora-rank 4 --epochs 3", "has no --epochs, --lora-rank"),
        ("pretrain --data gsm8k", "has no --data"),
        ("pretrain --student tiny --steps 5", "has no --steps"),
        ("pretrain --student tiny --control", "has no --control"),
        ("pretrain --student tiny --epochs 0", "whole number of at least 1"),
        ("pretrain --student tiny --learning-rate 0", "finite number above 0"),
        ("pretrain --student no/such-student", "no student can be loaded"),
        ("pretrain --resume --out gone", "gone holds no run to resume"),
        ("compare --seeds x", "a number or a range such as 0-4, not 'x'"),
        ("compare --seeds 3-1", "seeds must be"),
        ("compare --seeds 1-", "seeds must be"),
        ("compare --seeds 0-1-2", "seeds must be"),
        ("compare --seeds 0,1", "seeds must be"),
        ("compare --steps 0", "whole number of at least 1"),
        ("compare --student no/such-student", "no/such-student is no folder with a student"),
        ("--steps -2", "--steps: must be a whole number of at least 1, not '-2'"),
        ("--method grpo", "no option --method grpo (see python -m sgpo_mini compare --help)"),
    ],
)
def test_refused_in_one_sentence(refused, story_student, arguments, told):
    words = arguments.split()
    if words[0] in ("train", "evaluate") and "--student" not in words:
        words += ["--student", story_student]
    assert told in refused(*words)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("", "bad.jsonl is empty"),
        ('{"question": "1 + 1?", "answer": "2"}\n{"question": ', "line 2 is not a JSON object"),
        ('{"question": "1 + 1?"}', "no field 'answer' (it has question); add it, or give the"),
        ('{"question": "1 + 1?", "answer": "two"}', "line 1: the answer 'two' can't be used"),
    ],
)
@pytest.mark.parametrize("word", ["train", "evaluate", "pretrain"])
def test_a_bad_line_is_named_with_its_file(refused, even_student, tmp_path, word, lines, told):
    (tmp_path / "bad.jsonl").write_text(lines, encoding="utf-8")
    sentence = refused(word, "--student", even_student, "--data", "bad.jsonl")
    assert "bad.jsonl" in sentence and told in sentence


@pytest.fixture
def own_files() -> None:
    """Four problems in files of three kinds, in columns with names of their own."""
    names = {"id": "id", "question": "task", "answer": "goal", "solution": "solution"}
    rows = [asdict(problem) for problem in problems(4)]
    rows = [{new: row[name] for name, new in names.items()} for row in rows]
    Path("my.json").write_text(json.dumps(rows), encoding="utf-8")
    Dataset.from_list(rows).to_parquet("my.PARQUET")
    Dataset.from_list(rows).to_csv("my.csv")


OWN_COLUMNS = ("--question-column", "task", "--answer-column", "goal")


def test_every_command_names_the_columns_that_a_file_has(refused, even_student, own_files):
    asked = ("--data", "my.csv", "--answer-column", "goal", "--question-column", "tusk")
    at = ("--student", even_student)
    for words in (
        ("train", *at),
        ("evaluate", *at),
        ("pretrain", *at),
        ("strategies", "--measure", even_student),
        ("strategies", "--source", "solution", "--out", "s.jsonl"),
    ):
        told = "my.csv has no field 'tusk' (it has id, task, goal, solution); add it, or give"
        assert told in refused(*words, *asked)


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        ((*TRAIN, "--method", "grpo", "--out", "run"), ".csv"),
        (("evaluate", "--max-new-tokens", 16), ".json"),
        (("pretrain", "--epochs", 1), ".PARQUET"),
    ],
)
def test_a_command_reads_its_problems_from_columns(run, even_student, own_files, words, ending):
    asked = (*words, "--student", even_student, "--data", f"my{ending}")
    status, _, err = run(*asked, *OWN_COLUMNS)
    assert status == 0, err
    if words[0] == "train":
        saved = json.loads(Path("run/config.json").read_text(encoding="utf-8"))
        assert (saved["question_column"], saved["answer_column"]) == ("task", "goal")
    if words[0] == "evaluate":
        rows = read_rows("runs/evaluation/unguided.jsonl")
        assert [row["id"] for row in rows] == ["p0", "p1", "p2", "p3"]


def test_problems_without_strategies_are_refused_unless_the_method_needs_none(
    refused, run, even_student
):
    bare = write_problems(Path("bare.jsonl"), strategy=False)
    asked = (*TRAIN, "--student", even_student, "--data", bare, "--out", "run")
    assert "10 of 10 problems have no strategy, 'p0' first" in refused(*asked)
    guided = ("evaluate", "--student", even_student, "--data", bare, "--prompt", "guided")
    status, out, err = run(*guided, "--max-new-tokens", 16)
    assert status == 2 and "have no strategy" in err
    status, _, err = run(*asked, "--method", "grpo")
    assert status == 0, err


def test_strategies_from_a_file_take_the_place_of_the_problems_own(run, refused, even_student):
    bare = write_problems(Path("bare.jsonl"), strategy=False)
    strategy = {"problem_type": "name", "approach": "two divides it", "steps": [STRATEGY]}
    rows = [{"id": f"p{number}", **strategy} for number in range(10)]
    Path("strategies.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    asked = (*TRAIN, "--student", even_student, "--data", bare, "--strategies", "strategies.jsonl")
    # The labels of a written strategy are words that this student never saw.
    assert "does not know" in refused(*asked, "--out", "run")
    Path("strategies.jsonl").write_text(
        "".join(json.dumps(r | {"id": "x"}) + "\n" for r in rows[:1]), encoding="utf-8"
    )
    assert "none of the 1 strategies has the id of one" in refused(*asked)


def test_a_store_that_lacks_some_problems_trains_on_the_others_by_any_method_if_asked_to(
    run, refused, even_student
):
    rows = [asdict(problem) for problem in problems(10)]
    for row in rows[3:6]:
        row["strategy"] = ""
    Path("some.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = (*TRAIN, "--student", even_student, "--data", "some.jsonl", "--problems-per-step", 7)
    sentence = refused(*asked)
    assert "3 of 10 problems have no strategy, 'p3' first" in sentence
    assert "(--only-with-strategies)" in sentence
    for method in ("sgpo", "grpo"):
        words = ("--only-with-strategies", "--method", method, "--out", method)
        status, _, err = run(*asked, *words)
        assert status == 0, err
        assert "3 of 10 problems have no strategy: left out" in err
        assert json.loads(Path(method, "config.json").read_text(encoding="utf-8"))[
            "only_with_strategies"
        ]
    resumed = (*asked, "--method", "grpo", "--out", "grpo", "--resume", "--steps", 3)
    assert "had other settings: only_with_strategies (was True)" in refused(*resumed)
    bare = write_problems(Path("bare.jsonl"), strategy=False)
    sentence = refused(*TRAIN, "--student", even_student, "--data", bare, "--only-with-strategies")
    assert "none of the 10 problems has a strategy" in sentence


@pytest.mark.parametrize("word", ["train --method grpo", "evaluate", "pretrain"])
def test_the_tiny_student_names_the_words_that_it_does_not_know(refused, story_student, word):
    row = {"question": "A zeppelin carries 3 violinists. How many?", "answer": "3"}
    row["solution"] = "Three violinists. #### 3"
    Path("other.jsonl").write_text(json.dumps(row), encoding="utf-8")
    sentence = refused(*word.split(), "--student", story_student, "--data", "other.jsonl")
    assert "'zeppelin'" in sentence and "does not know" in sentence


def test_evaluating_guided_reads_the_words_of_strategies_too(run, refused, even_student):
    rows = [asdict(problem) | {"strategy": "zeppelin violinist"} for problem in problems(3)]
    Path("odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = ("evaluate", "--student", even_student, "--data", "odd.jsonl")
    assert "zeppelin" in refused(*asked)
    assert run(*asked, "--prompt", "unguided", "--max-new-tokens", 16)[0] == 0


def test_gsm8k_is_refused_for_the_tiny_student(refused, story_student, gsm8k_dir, monkeypatch):
    monkeypatch.setenv("SGPO_GSM8K_DIR", str(gsm8k_dir))
    asked = ("--student", story_student, "--data", "gsm8k")
    assert "does not know" in refused("evaluate", *asked, "--limit", 20)
    assert "7473 problems have no strategy" in refused("train", *asked)


def test_measuring_on_the_way_needs_mini_gsm(refused, even_student, data):
    asked = (*TRAIN, "--student", even_student, "--data", data, "--evaluate-every", 1)
    assert "which only mini-gsm and gsm8k have" in refused(*asked)


def test_a_sentence_and_no_traceback_from_a_real_process(tmp_path):
    done = subprocess.run(
        [*PROGRAM, "train", "--method", "ppo"],
        capture_output=True,
        text=True,
        timeout=120,
        encoding="utf-8",
    )
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr == "sgpo_mini: method must be one of sgpo, grpo, sft, luffy, hpt, not 'ppo'\n"
    )


def test_an_out_that_cannot_be_written_is_a_refusal(refused, even_student, data):
    Path("file").write_text("", encoding="utf-8")
    asked = ("--student", even_student, "--data", data, "--out", "file/run")
    for word in ("train", "evaluate", "pretrain"):
        assert "file" in refused(word, *asked)


# Help


def help_of(word: str, capsys) -> str:
    with pytest.raises(SystemExit) as end:
        main([word, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_help_names_the_commands_and_needs_no_torch():
    code = (
        "import sys; from sgpo_mini.__main__ import main\n"
        "for word in [], ['evaluate'], ['pretrain'], ['compare']:\n"
        "    try: main([*word, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    for word in ("train", "evaluate", "pretrain", "compare"):
        assert f"\n    {word} " in done.stdout


def test_train_help_has_every_setting_with_what_it_means_and_its_default(capsys):
    text = " ".join(help_of("train", capsys).split())
    explained = [name for group in SETTINGS.values() for name in group]
    # The command line's own rewards are 0 and 1: what is right is no question there.
    settings = [field for field in fields(Config) if field.name != "right_reward"]
    assert sorted(explained) == sorted(field.name for field in settings)
    for field in settings:
        flag = "--" + field.name.replace("_", "-")
        assert f" {flag} " in text or f" {flag}, " in text
        about = next(group[field.name] for group in SETTINGS.values() if field.name in group)
        assert about in text and len(about) > 10
        if field.default == "" or field.name == "resume":
            continue
        after = text.partition(about)[2]
        shown = {True: "on", False: "off", None: "none"}.get(
            field.default if isinstance(field.default, bool | None) else "", None
        )
        shown = shown or (
            f"{field.default:g}" if isinstance(field.default, float) else field.default
        )
        assert after.startswith(f" (default {shown}"), field.name
    assert "(default 256; on mini-gsm 64)" in text
    assert "(default 1e-06; on mini-gsm 0.0006 with sgpo, grpo" in text


FIXED = (
    "student data strategies method steps problems_per_step max_new_tokens temperature "
    "learning_rate delta lora_rank seed threads out resume"
).split()


def test_the_options_fixed_by_the_design_are_there():
    words = ["train"]
    for name in FIXED:
        words += ["--" + name.replace("_", "-")] + ([] if name == "resume" else ["3"])
    options = vars(_parser("train").parse_args(words))
    assert set(FIXED) <= options.keys() and options["delta"] == 3.0 and options["steps"] == 3
    assert _parser("train").parse_args(["train", "--delta", "none"]).delta is None
    assert not hasattr(_parser("train").parse_args(["train"]), "delta")


def test_every_kind_of_setting_reaches_the_run(run, even_student, data):
    words = "--no-select-target --reverse-kl --delta none --fixed-alpha 0.3 --normalize-target sum"
    words += " --autonomous-rollouts 3 --guided-rollouts 2 --clip-high 0.3 --seed 5"
    words += " --micro-batch-tokens 200"
    asked = (*TRAIN, "--student", even_student, "--data", data, *words.split(), "--threads", 1)
    status, _, err = run(*asked, "--out", "run", "--problems-per-step", 2)
    assert status == 0, err
    saved = json.loads(Path("run/config.json").read_text(encoding="utf-8"))
    told = {"select_target": False, "reverse_kl": True, "delta": None, "fixed_alpha": 0.3}
    told |= {"normalize_target": "sum", "autonomous_rollouts": 3, "guided_rollouts": 2, "seed": 5}
    told |= {"clip_high": 0.3, "micro_batch_tokens": 200, "threads": 1, "steps": 2, "data": data}
    expected = asdict(Config(**told | {"problems_per_step": 2, "student": even_student}))
    expected |= {"max_new_tokens": 16, "learning_rate": 1e-3, "out": "run"}
    del expected["resume"]
    assert saved.pop("digests").keys() >= {"problems", "strategies", "student's model.safetensors"}
    assert saved == expected


def test_defaults_of_the_main_job():
    for words in ([], ["--steps", "2"]):
        options = _parser("compare").parse_args(["compare", *words])
        assert (options.student, options.seeds, options.out) == ("tiny", "0", "runs/main")


@pytest.mark.parametrize("word", ["evaluate", "pretrain", "compare"])
def test_help_tells_the_defaults_that_are_used(word, capsys):
    text = " ".join(help_of(word, capsys).split())
    for name, value in vars(_parser(word).parse_args([word])).items():
        if name not in ("run", "resume", "prompt") and value not in ("", None, MISSING):
            shown = f"{value:g}" if isinstance(value, float) else value
            flag = "--" + name.replace("_", "-")
            assert re.search(rf"{flag} [^ ]+ .*?\(default {re.escape(str(shown))}", text), name
    if word == "evaluate":
        limits = f"(default {Config.max_new_tokens}; on mini-gsm {pretraining.MAX_NEW_TOKENS},"
        assert limits in text


PAGES = [ROOT / "README.md", *sorted((ROOT / "sgpo_mini" / "results").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_commands_of_the_readme_and_of_the_results_are_understood(path):
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    inline = "\n".join(re.findall(r"`((?:python|sgpo-mini) [^`]*)`", text.replace("\n", " ")))
    commands = re.findall(r"python -m sgpo_mini(?!\.)(.*)", blocks + "\n" + inline)
    assert len(commands) >= 2 or path.name != "README.md"
    for command in commands:
        words = shlex.split(command, comments=True)
        words = words[: words.index("&&")] if "&&" in words else words
        words = words if words and not words[0].startswith("-") else ["compare", *words]
        _parser(words[0]).parse_args([word for word in words if word != "--help"])
    for name in re.findall(r"`sgpo_mini\.(\w+)`", text):
        assert hasattr(__import__("sgpo_mini"), name)


# Training


def test_two_steps_on_a_file_with_a_small_student(run, even_student, data):
    status, out, err = run(*TRAIN, "--student", even_student, "--data", data, "--seed", 3)
    assert status == 0, err
    assert out == "trained student: runs/sgpo-3/student\n"
    rows = read_rows("runs/sgpo-3/metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["reward"] > 0 and row["p_guide"] > 0 and row["kl"] > 0 for row in rows)
    trained, before = (load_student(f, device="cpu") for f in ("runs/sgpo-3/student", even_student))
    pairs = zip(trained.model.parameters(), before.model.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_lora_from_the_command_line_and_back(run, even_student, data):
    asked = (*TRAIN, "--student", even_student, "--data", data, "--lora-rank", 4, "--out", "run")
    assert run(*asked)[0] == 0
    assert Path("run/student/adapter_model.safetensors").exists()
    asked = ("evaluate", "--student", "run/student", "--data", data, "--max-new-tokens", 16)
    assert run(*asked)[0] == 0


def test_on_mini_gsm_its_own_settings_hold_unless_others_are_given(run, story_student):
    asked = ("train", "--student", story_student, "--steps", 1, "--evaluate-every", 1)
    for words, delta, longest in (([], 4.0, 64), (["--delta", 1, "--max-new-tokens", 20], 1.0, 20)):
        status, _, err = run(*asked, *words, "--out", f"run-{delta}")
        assert status == 0, err
        saved = json.loads(Path(f"run-{delta}/config.json").read_text(encoding="utf-8"))
        assert (saved["delta"], saved["max_new_tokens"], saved["learning_rate"]) == (
            delta,
            longest,
            pretraining.settings_for("mini-gsm", "sgpo")["learning_rate"],
        )
    (row,) = read_rows("run-4.0/metrics.jsonl")
    assert 0 <= row["validation_accuracy"] < 0.2


@pytest.mark.parametrize("split", ["easy", "hard"])
def test_on_the_easy_and_hard_chains_their_own_settings_hold(run, story_student, split):
    asked = ("train", "--student", story_student, "--steps", 1, "--split", split, "--out", "run")
    status, _, err = run(*asked, "--problems-per-step", 2)
    assert status == 0, err
    saved = json.loads(Path("run/config.json").read_text(encoding="utf-8"))
    chosen = pretraining.SETTINGS["sgpo-hard" if split == "hard" else "sgpo"]
    assert saved["split"] == split and chosen.items() <= saved.items()


def test_settings_of_the_chat_template_are_saved_with_the_run_and_go_on_with_the_student(
    run, refused, even_student, data
):
    student = load_student(even_student, device="cpu")
    student.tokenizer.chat_template += "{% if brief %} . .{% endif %}"
    save_student(student, "base")
    brief = ("--chat-template-kwargs", '{"brief": true}')
    asked = (*TRAIN, "--student", "base", "--data", data)
    assert run(*asked, *brief, "--out", "run")[0] == 0
    assert json.loads(Path("run/config.json").read_text(encoding="utf-8"))[
        "chat_template_kwargs"
    ] == {"brief": True}
    trained = load_student("run/student", device="cpu")
    assert trained.tokenizer.decode(trained.prompt_ids("name")).endswith("<|assistant|> . .")
    more = (*asked, "--out", "run", "--resume", "--steps", 3)
    assert "chat_template_kwargs (was {'brief': True})" in refused(*more)
    assert run(*more, *brief)[0] == 0
    warm = ("pretrain", "--student", "base", "--data", data, "--epochs", 1, "--out", "warm")
    assert run(*warm, *brief)[0] == 0
    assert load_student("warm/student", device="cpu").chat_template_kwargs == {"brief": True}
    asked = ("evaluate", "--student", "base", "--data", data, "--max-new-tokens", 16)
    texts = []
    for words in ((), brief, ("--student", "warm/student")):
        assert run(*asked, *words, "--out", "measured")[0] == 0
        texts.append(Path("measured/unguided.jsonl").read_text(encoding="utf-8"))
    assert texts[0] != texts[1]
    for wrong in ("brief", "[1]", "{", '{"long": true}'):
        sentence = refused(*asked, "--chat-template-kwargs", wrong)
        assert "JSON object such as" in sentence or "no setting 'long'" in sentence


def test_a_folder_that_holds_a_run_is_refused_and_resume_goes_on(run, refused, even_student, data):
    asked = (*TRAIN[3:], "--student", even_student, "--data", data)
    assert run("train", "--steps", 4, *asked, "--out", "whole")[0] == 0
    assert run("train", "--steps", 2, *asked, "--out", "parts")[0] == 0
    again = ("train", "--steps", 4, *asked, "--out", "parts")
    assert "parts already holds a run: continue it (--resume)" in refused(*again)
    sentence = refused(*again, "--resume", "--seed", 1)
    assert "had other settings: seed (was 0)" in sentence
    status, _, err = run(*again, "--resume")
    assert status == 0 and f"resuming from {Path('parts/checkpoints/step-000002')}" in err
    for name in ("metrics.jsonl", "student/model.safetensors"):
        assert Path("whole", name).read_bytes() == Path("parts", name).read_bytes()


# Ctrl-C


def wait_for_lines(path: Path, count: int = 1) -> None:
    end = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.005)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no Ctrl-C to one process")
def test_ctrl_c_saves_and_says_how_to_go_on(run, even_student, data):
    """Without --out: the sentence has to name the folder that was chosen."""
    words = ["train", "--steps", "100000", "--student", even_student, "--data", data]
    words += ["--max-new-tokens", "16", "--problems-per-step", "2", "--threads", "1"]
    with subprocess.Popen(
        [*PROGRAM, *words], stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        wait_for_lines(Path("runs/sgpo-0/metrics.jsonl"), 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    command = (
        err.strip().split("\n")[-1].partition("stopped; continue with: python -m sgpo_mini ")[2]
    )
    assert shlex.split(command) == [*words, "--out", "runs/sgpo-0", "--resume"]
    done = len(read_rows("runs/sgpo-0/metrics.jsonl"))
    assert [f.name for f in Path("runs/sgpo-0/checkpoints").iterdir()] == [f"step-{done:06d}"]

    goes_on = [word.replace("100000", str(done + 1)) for word in shlex.split(command)]
    status, out, err = run(*goes_on)
    assert status == 0, err
    assert f"resuming from runs/sgpo-0/checkpoints/step-{done:06d}" in err
    assert [row["step"] for row in read_rows("runs/sgpo-0/metrics.jsonl")] == [*range(1, done + 2)]


@pytest.fixture
def interrupt_at():
    """Press Ctrl-C on this process once a log has a line."""
    threads = []

    def call(path: str) -> None:
        def wait():
            wait_for_lines(Path(path))
            signal.raise_signal(signal.SIGINT)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield call
    for thread in threads:
        thread.join()


def test_ctrl_c_before_anything_is_saved(run, monkeypatch):
    def stop(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("sgpo_mini.student.load_student", stop)
    status, _, err = run("train", "--out", "run")
    assert status == 130 and "stopped before the run began: nothing was saved" in err
    status, _, err = run("evaluate")
    assert status == 130 and err.endswith("sgpo_mini: stopped\n")


def test_ctrl_c_in_the_main_job_names_the_same_command(run, monkeypatch):
    def stop(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("sgpo_mini.study.main_job.run_and_report", stop)
    status, _, err = run("--seeds", "0-4", "--out", "my runs")
    assert status == 130
    told = "continue with: python -m sgpo_mini compare --seeds 0-4 --out 'my runs'\n"
    assert err.endswith(told)


# Evaluation


def accuracy_in(out: str, label: str) -> float:
    return float(re.search(rf"^{label}: ([\d.]+) \(95 % interval", out, re.MULTILINE)[1])


@pytest.mark.parametrize("ks", [(1, 2, 4), (1, 2, 4, 6)])
def test_evaluate_writes_completions_that_agree_with_what_it_prints(run, even_student, data, ks):
    samples = ks[-1]
    asked = ("evaluate", "--student", even_student, "--data", data, "--max-new-tokens", 16)
    status, out, err = run(*asked, "--samples", samples, "--temperature", 1, "--out", "answers")
    assert status == 0, err
    right = {problem.id: problem for problem in load_problems(data)}
    for name in ("unguided", "guided"):
        rows = read_rows(f"answers/{name}.jsonl")
        assert [row["id"] for row in rows] == [id for id in right for _ in range(samples)]
        assert {row["guided"] for row in rows} == {name == "guided"}
        for row in rows:
            states_two = re.search(r"####\D*2\b", row["completion"]) is not None
            assert row["correct"] == (states_two and not row["truncated"]), row["completion"]
        correct = [row["correct"] for row in rows]
        correct = [correct[i : i + samples] for i in range(0, len(rows), samples)]
        assert 0 < sum(map(sum, correct)) < len(rows)
        share = sum(map(sum, correct)) / len(rows)
        assert accuracy_in(out, name) == pytest.approx(share, abs=1e-4)
        assert f"avg@{samples}, {len(right)} problems" in out
        passed = ", ".join(f"pass@{k} {pass_at_k(correct, k):.4f}" for k in ks)
        assert f"\n{name}: {passed}\n" in out
        assert f"{name}: completions saved to {Path('answers', name)}.jsonl" in out


def test_evaluate_is_unguided_alone_where_a_strategy_is_missing(run, even_student, data):
    asked = ("evaluate", "--student", even_student, "--max-new-tokens", 16, "--data")
    status, out, err = run(*asked, write_problems(Path("bare.jsonl"), strategy=False))
    assert status == 0 and accuracy_in(out, "unguided") in (0.0, 1.0)
    assert "greedy, 10 problems" in out and "guided: " not in out.replace("unguided: ", "")
    assert [path.name for path in Path("runs/evaluation").iterdir()] == ["unguided.jsonl"]
    rows = [asdict(problem) for problem in problems(4)]
    rows[2]["strategy"] = ""
    Path("some.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    status, _, err = run(*asked, "some.jsonl")
    assert status == 0 and "1 of 4 problems have no strategy: evaluating unguided only" in err


def test_evaluate_tells_the_accuracy_of_each_of_a_few_families(run, story_student):
    asked = ("evaluate", "--student", story_student, "--split", "sure_and_wrong")
    status, out, err = run(*asked, "--prompt", "unguided", "--samples", 2, "--temperature", 1)
    assert status == 0, err
    assert "(95 % interval over families " in out
    rows = read_rows("runs/evaluation/unguided.jsonl")
    for family in ("inherited", "forfeited"):
        correct = [row["correct"] for row in rows if row["family"] == family]
        assert len(correct) == 40
        assert f"  {family}: {sum(correct) / len(correct):.4f}\n" in out
    asked = ("evaluate", "--student", story_student, "--split", "test", "--limit", 20)
    out = run(*asked, "--prompt", "unguided")[1]
    assert "over families" in out and "  train-" not in out, "families of one problem have no line"


def test_limit_and_seed(run, story_student):
    asked = ("evaluate", "--student", story_student, "--split", "test", "--limit", 7)
    asked += ("--temperature", 1)
    texts = []
    for number, seed in enumerate((0, 0, 1)):
        run(*asked, "--seed", seed, "--prompt", "guided", "--out", f"answers{number}")
        texts.append(Path(f"answers{number}/guided.jsonl").read_text(encoding="utf-8"))
    assert texts[0].count("\n") == 7 and texts[0] == texts[1] != texts[2]


def test_without_options_it_is_the_shipped_student_on_mini_gsm(run):
    status, out, err = run("evaluate", "--split", "test", "--limit", 20, "--prompt", "guided")
    assert status == 0 and accuracy_in(out, "guided") >= 0.9, err
    assert run("train", "--steps", 1)[:2] == (0, "trained student: runs/sgpo-0/student\n")
    (row,) = read_rows("runs/sgpo-0/metrics.jsonl")
    assert row["p_guide"] > row["p_auto"] > 0 and row["truncated"] < 0.2


# Pretraining


@pytest.fixture
def smaller(monkeypatch):
    """The tiny student, tinier still, and measured in less time."""
    for name, value in {"LAYERS": 2, "WIDTH": 64, "SAMPLES": 1, "MAX_NEW_TOKENS": 4}.items():
        monkeypatch.setattr(pretraining, name, value)


def test_pretrain_makes_a_student_that_loads_with_plain_transformers(run, monkeypatch):
    for name, value in {"SAMPLES": 1, "MAX_NEW_TOKENS": 4}.items():  # less to measure
        monkeypatch.setattr(pretraining, name, value)
    status, out, err = run("pretrain", "--steps", 3, "--out", "made", "--threads", 1)
    assert status == 0, err
    folder = Path("made/student")
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "README.md", "measured.json"} <= names
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8e6
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    for name, (mean, _, _) in measured["validation"].items():
        assert f"{name}: {mean:.4f} (95 % interval" in out
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "`python -m sgpo_mini pretrain --seed 0 --threads 1 --steps 3`" in card

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert type(model).__name__ == "Qwen2ForCausalLM"
    message = [{"role": "user", "content": make_problems("test")[0].question}]
    text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    own = load_student(folder, device="cpu")
    with torch.no_grad():
        assert torch.equal(model(**ids).logits, own.model(**ids).logits)


def test_pretraining_for_the_control_world_is_measured_there_and_told_in_the_card(
    run, smaller, monkeypatch
):
    worlds = []
    measured = {"validation": {"guided": [0.5, 0.4, 0.6]}}
    monkeypatch.setattr(pretraining, "_model_card", lambda student, measured, command: command)
    monkeypatch.setattr(
        pretraining,
        "measure_tiny_student",
        lambda student, control: worlds.append(control) or measured,
    )
    asked = ("pretrain", "--steps", 2, "--threads", 1)
    for name, words in (("control", ["--control"]), ("world", [])):
        status, out, err = run(*asked, *words, "--out", name)
        assert status == 0, err
        assert "guided: 0.5000 (95 % interval 0.4000 to 0.6000) on validation\n" in out
        card = Path(name, "student/README.md").read_text(encoding="utf-8")
        assert card.endswith("--steps 2 --control" if words else "--steps 2")
    assert worlds == [True, False]
    weights = [
        Path(name, "student/model.safetensors").read_bytes() for name in ("control", "world")
    ]
    assert weights[0] != weights[1]


def test_a_stopped_pretraining_goes_on_to_the_same_student(run, smaller, refused, interrupt_at):
    asked = ("pretrain", "--steps", 30, "--seed", 4)
    assert run(*asked, "--out", "whole")[0] == 0
    interrupt_at("runs/student-4/metrics.jsonl")
    status, _, err = run(*asked)
    assert status == 130
    told = "continue with: python -m sgpo_mini pretrain --steps 30 --seed 4"
    assert err.endswith(f"{told} --out runs/student-4 --resume\n")
    done = len(read_rows("runs/student-4/metrics.jsonl"))
    assert 1 <= done < 30 and not Path("runs/student-4/student").exists()
    assert "already holds a run" in refused(*asked)
    status, _, err = run(*asked, "--resume")
    assert status == 0 and f"step-{done:06d}" in err
    for name in ("metrics.jsonl", "student/model.safetensors", "student/measured.json"):
        assert Path("whole", name).read_bytes() == Path("runs/student-4", name).read_bytes()


@pytest.mark.parametrize("with_strategy", [False, True])
def test_sft_of_an_existing_student(run, even_student, data, with_strategy):
    asked = ("pretrain", "--student", even_student, "--data", data, "--epochs", 12)
    asked += ("--batch-size", 4, "--learning-rate", 3e-3, "--micro-batch-tokens", 200)
    asked += ("--with-strategy",) if with_strategy else ()
    status, out, err = run(*asked)
    assert status == 0 and out == "student: runs/warm-up-0/student\n", err
    rows = read_rows("runs/warm-up-0/metrics.jsonl")
    assert len(rows) == 12 * 3 and rows[-1]["loss"] < rows[0]["loss"] / 2
    asked = ("evaluate", "--student", "runs/warm-up-0/student", "--data", data)
    asked += ("--max-new-tokens", 16, "--prompt", "guided" if with_strategy else "unguided")
    out = run(*asked)[1]
    assert accuracy_in(out, "guided" if with_strategy else "unguided") == 1.0  # all learn "2"


def test_sft_with_lora_leaves_an_adapter_that_training_goes_on_with(run, even_student, data):
    asked = ("pretrain", "--student", even_student, "--data", data, "--epochs", 1)
    assert run(*asked, "--lora-rank", 4, "--out", "warm")[0] == 0
    assert Path("warm/student/adapter_model.safetensors").exists()
    asked = (*TRAIN, "--student", "warm/student", "--data", data, "--lora-rank", 4, "--out", "run")
    status, _, err = run(*asked, "--gradient-checkpointing", "--micro-batch-tokens", 800)
    assert status == 0, err
    assert Path("run/student/adapter_model.safetensors").exists()


# What changed under the same name


def test_a_run_is_not_gone_on_with_after_its_files_changed(run, even_student, data):
    """The problems, the strategies and the base's weights, each under the name that it had."""
    base, own = Path(shutil.copytree(even_student, "base")), Path(shutil.copy(data, "own.jsonl"))
    strategy = {"problem_type": "name", "approach": STRATEGY, "steps": [STRATEGY]}
    rows = [{"id": f"p{number}", **strategy} for number in range(10)]
    store = Path("s.jsonl")
    store.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = (*TRAIN, "--student", "base", "--data", own, "--strategies", store, "--out", "run")
    # This student knows too few words to be guided by what a store says.
    asked += ("--method", "grpo", "--only-with-strategies")
    status, _, err = run(*asked, "--threads", 1)
    assert status == 0, err
    again = (*asked, "--threads", 1, "--resume", "--steps", 3)
    for path, old, new, told in (
        (own, b"name an even", b"name one even", "problems"),
        (own, b'"answer": "2"', b'"answer": "4"', "problems"),
        (store, b"two divides", b"I divides", "strategies"),
        (base / "model.safetensors", None, None, "student's model.safetensors"),
        (base / "config.json", b'"rms_norm_eps": 1e-06', b'"rms_norm_eps": 1e-05', "config.json"),
    ):
        kept = path.read_bytes()
        path.write_bytes(kept.replace(old, new, 1) if old else kept[:-1] + bytes([kept[-1] ^ 1]))
        assert path.read_bytes() != kept
        status, _, sentence = run(*again)
        assert status == 2
        assert "run started from different inputs under the same names (changed: " in sentence
        assert told in sentence and "another --out" in sentence
        path.write_bytes(kept)
    status, _, err = run(*again)
    assert status == 0 and f"resuming from {Path('run/checkpoints/step-000002')}" in err


def test_fewer_steps_are_refused_and_the_settings_stay(run, refused, even_student, data):
    asked = (*TRAIN, "--student", even_student, "--data", data, "--out", "run", "--threads", 1)
    assert run(*asked)[0] == 0
    assert "has done 2 steps: steps must be at least that (--steps 2), not 1" in refused(
        *asked, "--steps", 1, "--resume"
    )
    assert json.loads(Path("run/config.json").read_bytes())["steps"] == 2


# What libraries raise


def library_errors():
    import datasets
    import httpx
    import huggingface_hub.errors as hub
    import jinja2
    import pyarrow
    import safetensors

    return [
        safetensors.SafetensorError("Error while deserializing header: header too large"),
        Exception("data did not match any variant of untagged enum ModelWrapper"),  # tokenizers
        hub.LocalEntryNotFoundError("not in the cache"),
        hub.HFValidationError("Repo id must be in the form 'repo_name'"),
        hub.RepositoryNotFoundError(
            "404", response=httpx.Response(404, request=httpx.Request("GET", "https://x"))
        ),
        httpx.ConnectError("Connection refused"),
        jinja2.TemplateSyntaxError("unexpected '}'", 1),
        jinja2.UndefinedError("'x' is undefined"),
        pyarrow.ArrowInvalid("Parquet magic bytes not found"),
        datasets.exceptions.DatasetGenerationError("An error occurred"),
        json.JSONDecodeError("Expecting value", "", 0),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20.00 MiB"),
        MemoryError(),
        OSError(28, "No space left on device"),
        FileNotFoundError(2, "No such file or directory", "x/y"),
        RuntimeError("mat1 and mat2\nshapes"),
    ]


@pytest.mark.parametrize("error", library_errors(), ids=lambda error: type(error).__name__)
def test_what_a_library_refuses_is_one_sentence(run, monkeypatch, error):
    def fail(*arguments, **settings):
        raise error

    monkeypatch.setattr("sgpo_mini.student.load_student", fail)
    status, out, err = run("evaluate")
    assert status == 2 and out == ""
    assert re.fullmatch(r"sgpo_mini: [^\n]+\n", err), err
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        assert "out of memory: lower --micro-batch-tokens, --batch-size" in err
    if type(error) is FileNotFoundError:
        assert err == "sgpo_mini: x/y can't be read or written (No such file or directory)\n"


@pytest.mark.parametrize(
    "kind",
    [TypeError, KeyError, AttributeError, IndexError, AssertionError, ZeroDivisionError,
     NameError, StopIteration, RecursionError, ImportError, type("Own", (Exception,), {
         "__module__": "sgpo_mini.rollout"})],
)  # fmt: skip
def test_a_bug_of_ours_keeps_its_traceback(monkeypatch, kind):
    def fail(*arguments, **settings):
        raise kind("a bug")

    monkeypatch.setattr("sgpo_mini.student.load_student", fail)
    with pytest.raises(kind):
        main(["evaluate"])


CUT = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "no object": lambda content: b"[]",
    "not UTF-8": lambda content: b"\xff" + content,
}


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_cut_file_of_a_student_is_named(refused, even_student, data, name, cut):
    path = Path(shutil.copytree(even_student, "own")) / name
    path.write_bytes(cut(path.read_bytes()))
    sentence = refused("evaluate", "--student", "own", "--data", data)
    assert f"{Path('own', name)} is " in sentence and "get a fresh copy of it" in sentence


@pytest.mark.parametrize("cut", ["", "{", '{"student": "ti'])
@pytest.mark.parametrize("word", ["train", "pretrain"])
def test_a_cut_config_of_a_run_is_named(run, refused, even_student, data, word, cut):
    asked = TRAIN if word == "train" else ("pretrain", "--epochs", 1)
    asked = (*asked, "--student", even_student, "--data", data, "--out", "run")
    if not Path("run").exists():
        assert run(*asked)[0] == 0
    Path("run/config.json").write_text(cut, encoding="utf-8")
    sentence = refused(*asked, "--resume")
    assert re.search(r"run/config.json is (empty|cut short or damaged): restore a copy", sentence)


def test_a_console_that_knows_few_characters_ends_no_command(even_student, data):
    """Families of problems are printed, and what is refused is quoted."""
    rows = [json.loads(line) for line in Path(data).read_text(encoding="utf-8").splitlines()]
    rows[0] |= {"family": "Préis ∆"}
    rows[1] |= {"family": "数学"}
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = [*PROGRAM, "evaluate", "--student", even_student, "--data", "own.jsonl"]
    words += ["--prompt", "unguided", "--max-new-tokens", "8", "--out", "out ∆"]
    done = subprocess.run(
        words, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, timeout=120
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode("ascii")
    assert "  Pr?is ?: " in shown and "  ??: " in shown and "out ?/unguided.jsonl" in shown
    assert len(read_rows("out ∆/unguided.jsonl")) == 10
    done = subprocess.run(
        [*PROGRAM, "evaluate", "--data", "数学.jsonl"],
        capture_output=True, env=os.environ | {"PYTHONIOENCODING": "cp1252"}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and b"??.jsonl can't be read" in done.stderr

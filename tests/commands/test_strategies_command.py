"""`python -m sgpo_mini strategies`: every source, stopping and going on, looking and measuring."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from small_world import STRATEGY, fresh_student
from teacher_server import STRATEGIES, Raw, completion, good, problems, serving
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from sgpo_mini.__main__ import _parser
from sgpo_mini.mini_gsm.world import make_problems
from sgpo_mini.strategies import Strategy, leaks, load_strategies
from sgpo_mini.strategy_sources.teachers import open_teacher
from sgpo_mini.student import save_student

PROGRAM = [sys.executable, "-m", "sgpo_mini", "strategies"]
END_OF_TURN = 151645


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Nothing is written into the checkout; a server on this machine may be asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # for processes
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SGPO_TEACHER_KEY", raising=False)
    torch.set_num_threads(1)


@pytest.fixture
def run(run):
    """Call this command: (exit status, standard output, standard error without bars)."""
    return lambda *arguments: run("strategies", *arguments)


def write_problems(path: str = "data.jsonl", count: int = 3) -> str:
    lines = [json.dumps(asdict(problem)) + "\n" for problem in problems(count)]
    Path(path).write_text("".join(lines), encoding="utf-8")
    return path


def rows(path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


# Refusals


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "give one of --source (make strategies), --inspect FILE"),
        ("--source world --inspect a.jsonl", "give one of --source"),
        ("--source expert", "choose from"),
        ("--source teacher", "--source teacher needs --teacher"),
        ("--source teacher --teacher no/such-model", "the teacher can't be loaded"),
        ("--source teacher --teacher ftp://host", "http:// or https://"),
        ("--source teacher --teacher tiny --teacher-model x", "is not a URL"),
        ("--source teacher --teacher http://host --candidates 0", "at least 1, not '0'"),
        ("--source teacher --teacher http://host --parallel 0", "at least 1, not '0'"),
        ("--source teacher --teacher http://host --timeout 0", "finite number above 0"),
        ("--source teacher --teacher http://host --samples 3", "source teacher has no --samples"),
        ("--source teacher --teacher http://host --out a.txt", "ends in .jsonl, not 'a.txt'"),
        ("--source teacher --teacher http://u:p@host", "SGPO_TEACHER_KEY"),
        ("--source world --teacher http://host", "--source world has no --teacher"),
        ("--source world --data gsm8k", "is for --data mini-gsm, not gsm8k"),
        ("--source world --split nonsense", "no split 'nonsense'; choose one of train"),
        ("--source world --data data.jsonl --split test", "data.jsonl has no splits"),
        ("--source world --limit -1", "at least 0"),
        ("--source solution --data gsm9k", "mini-gsm, gsm8k or a file"),
        ("--source subquestions", "mini-gsm has none"),
        ("--source subquestions --data gone.jsonl", "gone.jsonl can't be read"),
        ("--inspect gone.jsonl", "gone.jsonl can't be read"),
        ("--source world --seed 1", "--source world has no --seed"),
        ("--source world --threads 1", "--source world has no --threads"),
        ("--source teacher --teacher tiny --seed 1", "--source teacher has no --seed"),
        ("--source teacher --teacher tiny --timeout 5", "that runs here has no --timeout"),
        ("--source teacher --teacher http://host --threads 1", "behind a URL has no --threads"),
        ("--inspect a.jsonl --out b.jsonl", "--inspect has no --out"),
        ("--inspect a.jsonl --limit 3", "--inspect without --data has no --limit"),
        ("--inspect a.jsonl --split test", "--inspect without --data has no --split"),
        ("--inspect a.jsonl --threads 1", "--inspect has no --threads"),
        ("--measure no/such-student", "no student can be loaded"),
        ("--measure tiny --temperature 0", "temperature above 0"),
        ("--measure tiny --candidates 3", "--measure has no --candidates"),
        ("--measure tiny --strategies gone.jsonl", "gone.jsonl can't be read"),
        ("--measure tiny --sample 3", "there is no option --sample 3"),
    ],
)
def test_refused_in_one_sentence(run, monkeypatch, arguments, told):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    status, out, err = run(*arguments.split())
    assert status == 2, err
    assert out == "" and err.startswith("sgpo_mini: ") and err.count("\n") == 1
    assert told in err
    assert not list(Path().iterdir()), "something was written"


def test_help_tells_what_each_option_is_for_and_needs_no_torch():
    code = (
        "import sys; from sgpo_mini.__main__ import main\n"
        "try: main(['strategies', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    for words in ("SGPO_TEACHER_KEY", "(default 5)", "(default 2048)", "(default 120)", "p_guide"):
        assert words in text
    for name in vars(_parser("strategies").parse_args(["strategies"])):
        assert name == "run" or f" --{name.replace('_', '-')}" in text


# Sources that need no teacher


def test_the_worlds_true_strategies(run):
    status, out, err = run("--source", "world", "--split", "validation", "--out", "new/true.jsonl")
    assert status == 0, err
    found = load_strategies("new/true.jsonl")
    for problem in make_problems("validation"):
        assert found[problem.id].text == problem.strategy
    count = len(make_problems("validation"))
    assert f"kept {count} of {count}" in out and f"strategies: {Path('new/true.jsonl')}" in out
    assert [path.name for path in Path("new").iterdir()] == ["true.jsonl"]
    status, _, err = run("--source", "world", "--out", "new/true.jsonl")
    assert status == 2 and "already exists" in err


@pytest.mark.parametrize(("source", "file"), [("solution", "test"), ("subquestions", "test")])
def test_gsm8ks_worked_solutions_and_subquestions(run, gsm8k_dir, monkeypatch, source, file):
    monkeypatch.setenv("SGPO_GSM8K_DIR", str(gsm8k_dir))
    asked = ("--source", source, "--data", "gsm8k", "--split", file, "--limit", 60)
    status, out, err = run(*asked)
    assert status == 0, err
    path = f"runs/strategies-{source}.jsonl"
    found = load_strategies(path)
    assert 30 < len(found) <= 60 and all(name.startswith("gsm8k-test-") for name in found)
    assert not any(leaks(strategy, problems(1)[0]) for strategy in found.values())
    unread = rows(f"runs/strategies-{source}.failed.jsonl") if len(found) < 60 else []
    assert len(found) + len(unread) == 60 and all(row["reason"] for row in unread)
    assert f"kept {len(found)} of 60" in out


def test_what_cannot_be_read_is_told_and_not_guessed(run):
    readable = {"id": "a", "question": "Tom has 3 apples and buys 4 apples. How many apples?"}
    readable |= {"answer": "7", "solution": "He has 3+4=<<3+4=7>>7 apples.\n#### 7"}
    other = {"id": "b", "question": "How many?", "answer": "7", "solution": "Seven. #### 7"}
    Path("data.jsonl").write_text(
        json.dumps(readable) + "\n" + json.dumps(other) + "\n", encoding="utf-8"
    )
    status, out, err = run("--source", "solution", "--data", "data.jsonl", "--out", "s.jsonl")
    assert status == 0, err
    assert list(load_strategies("s.jsonl")) == ["a"]
    assert [row["id"] for row in rows("s.failed.jsonl")] == ["b"]
    assert "kept 1 of 2" in out and "no strategy for 1: reasons in s.failed.jsonl" in out


# A teacher


def test_a_servers_strategies_with_the_summary_and_the_key_from_the_environment(run, monkeypatch):
    monkeypatch.setenv("SGPO_TEACHER_KEY", "sk-very-secret-123456")
    with serving() as server:
        asked = ("--source", "teacher", "--teacher", server.url, "--teacher-model", "strong")
        status, out, err = run(*asked, "--data", write_problems(), "--out", "s.jsonl", "--limit", 2)
        (key,) = {question.headers["authorization"] for question in server.questions}
        (model,) = {question.body["model"] for question in server.questions}
    assert status == 0, err
    assert (key, model) == ("Bearer sk-very-secret-123456", "strong")
    assert load_strategies("s.jsonl") == dict.fromkeys(["p0", "p1"], Strategy.parse(STRATEGIES[4]))
    for words in ("kept 2, failed 0, open 0", "median 5", "22 requests", "strategies: s.jsonl"):
        assert words in out
    assert "sk-very" not in out + err + Path("s.jsonl").read_text(encoding="utf-8")


def test_a_teacher_of_which_nothing_is_kept_is_a_refusal_after_the_summary(run):
    with serving(lambda question: "garbage") as server:
        asked = ("--source", "teacher", "--teacher", server.url, "--data", write_problems())
        status, out, err = run(*asked, "--out", "s.jsonl")
    assert status == 2 and err.endswith("no strategy was kept: see the reasons in s.failed.jsonl\n")
    assert "kept 0, failed 3, open 0 (reasons and replies: s.failed.jsonl)" in out


class Held:
    """A good teacher that gives so many replies and keeps silent on what comes after them."""

    def __init__(self, replies: int) -> None:
        self.left, self.given = replies, []
        self.lock, self.released = threading.Lock(), threading.Event()

    def __call__(self, question):
        with self.lock:
            self.left -= 1
            silent = self.left < 0 and not self.released.is_set()
            if not silent:
                self.given.append(question)
        if silent:
            self.released.wait(240)
            return Raw(b"", 503)
        return good(question)


def received(out: str) -> int:
    """How many replies are safely in the files of a run."""
    path, journal = Path(out), Path(out).with_suffix(".replies.jsonl")
    finished = rows(path) if path.exists() else []
    ids = {row["id"] for row in finished}
    lines = journal.read_text(encoding="utf-8").split("\n")[:-1] if journal.exists() else []
    waiting = [row for row in map(json.loads, lines) if row["id"] not in ids]
    return sum(row["requests"] for row in finished) + len(waiting)


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def start(server, *more) -> subprocess.Popen:
    asked = ["--source", "teacher", "--teacher", server.url, "--data", "data.jsonl"]
    asked += ["--out", "s.jsonl", "--candidates", "2", "--parallel", "3", *more]
    return subprocess.Popen(
        [*PROGRAM, *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_a_killed_run_goes_on_and_asks_nothing_twice():
    write_problems(count=6)
    script = Held(13)
    with serving(script) as server:
        killed = start(server)
        wait_for(lambda: len(server.questions) == 13 + 3 and received("s.jsonl") == 13)
        killed.kill()
        killed.communicate(timeout=240)
        assert len(script.given) == 13
        with open("s.replies.jsonl", "ab") as file:
            file.write(b'{"id": "p5", "asked": "solu')  # the line that a kill cuts short
        script.released.set()
        resumed = start(server)
        out, err = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, err
    times = Counter((question.kind, question.problem) for question in script.given)
    expected = {"solve": 1, "draw": 2, "score": 2}
    assert times == {(k, p.question): n for p in problems(6) for k, n in expected.items()}
    assert sorted(load_strategies("s.jsonl")) == [f"p{number}" for number in range(6)]
    assert "used: 30 requests, 3,000 tokens" in out
    assert sorted(path.name for path in Path().iterdir()) == ["data.jsonl", "s.jsonl"]
    assert "cut short" not in err  # no hand writes into that file


def test_a_second_run_is_refused_and_the_lock_of_a_killed_one_holds_up_nobody(run):
    write_problems()
    script = Held(4)
    with serving(script) as server:
        first = start(server)
        wait_for(lambda: len(server.questions) == 4 + 3)
        status, out, err = run("--source", "solution", "--data", "data.jsonl", "--out", "s.jsonl")
        assert status == 2 and out == ""
        assert f"another run (process {first.pid}) is at work on s.jsonl" in err
        first.kill()
        first.communicate(timeout=240)
        assert Path("s.lock").exists()
        script.released.set()
        second = start(server)
        _, err = second.communicate(timeout=240)
    assert second.returncode == 0, err
    assert len(load_strategies("s.jsonl")) == 3 and not Path("s.lock").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no Ctrl-C to one process")
def test_ctrl_c_waits_for_the_replies_under_way_and_tells_how_to_go_on():
    write_problems(count=6)
    script = Held(13)
    with serving(script) as server:
        stopped = start(server)
        wait_for(lambda: len(server.questions) == 13 + 3 and received("s.jsonl") == 13)
        script.left = 3  # the three in progress are answered, and no more are asked
        stopped.send_signal(signal.SIGINT)
        time.sleep(0.2)
        script.released.set()
        out, err = stopped.communicate(timeout=240)
        assert stopped.returncode == 130 and "Traceback" not in err
        assert "waiting for the replies in progress (Ctrl-C again stops at once)" in err
        assert len(server.questions) == 13 + 3
        command = err.strip().rpartition("continue with: python -m sgpo_mini ")[2]
        words = shlex.split(command)
        done = subprocess.run(
            [*PROGRAM[:-1], *words], capture_output=True, text=True, timeout=240, encoding="utf-8"
        )
    assert done.returncode == 0, done.stderr
    assert len(load_strategies("s.jsonl")) == 6 and len(script.given) == 30


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no Ctrl-C to one process")
def test_a_second_ctrl_c_does_not_wait_for_a_silent_server():
    write_problems()
    script = Held(4)
    with serving(script) as server:
        stopped = start(server)
        wait_for(lambda: len(server.questions) == 4 + 3 and received("s.jsonl") == 4)
        stopped.send_signal(signal.SIGINT)
        time.sleep(0.3)
        stopped.send_signal(signal.SIGINT)
        _, err = stopped.communicate(timeout=100)
        script.released.set()
    assert stopped.returncode == 130 and "Traceback" not in err
    assert received("s.jsonl") == 4


# The real path: Qwen2.5's tokenizer, GSM8K's problems, a random model


@pytest.fixture(scope="module")
def model_folder(tokenizer_dir, tmp_path_factory):
    """A random model of Qwen2's architecture that ends its turn after some tokens."""
    folder = tmp_path_factory.mktemp("real") / "teacher"
    config = Qwen2Config(
        vocab_size=152064,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=END_OF_TURN,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():  # one attention bias, seen by all positions, leans to the end token
        attention = model.model.layers[-1].self_attn
        attention.v_proj.bias.fill_(1.0)
        attention.o_proj.weight.copy_(torch.eye(32))
        model.lm_head.weight[END_OF_TURN] = 10.0 / 32
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_dir).save_pretrained(folder)
    shutil.copy(tokenizer_dir / "generation_config.json", folder)
    return folder


def test_a_random_qwen2_model_as_teacher_from_its_folder_and_behind_a_server(
    run, model_folder, gsm8k_dir, monkeypatch
):
    """Nothing that it writes is a strategy, so every problem ends as failed, with the text."""
    monkeypatch.setenv("SGPO_GSM8K_DIR", str(gsm8k_dir))
    asked = ("--source", "teacher", "--data", "gsm8k", "--split", "train", "--limit", 2)
    asked += ("--with-solutions", "--candidates", 2, "--max-new-tokens", 40)
    status, out, err = run(*asked, "--teacher", model_folder, "--out", "folder.jsonl")
    assert status == 2 and "kept 0, failed 2, open 0" in out, err
    local, lock = open_teacher(str(model_folder)), threading.Lock()

    def generate(question):
        settings = {"temperature": question.body["temperature"]}
        settings["max_new_tokens"] = question.body["max_tokens"]
        with lock:
            (reply,) = local.replies([question.body["messages"]], **settings, seed=question.count)
        return completion(reply.text, reply.tokens)

    with serving(generate) as server:
        status, out, err = run(*asked, "--teacher", server.url, "--out", "server.jsonl")
        assert status == 2 and "kept 0, failed 2, open 0" in out, err
        assert len(server.questions) == 8  # two problems, two candidates, each asked for twice
    for name in ("folder", "server"):
        failed = rows(f"{name}.failed.jsonl")
        assert sorted(row["id"] for row in failed) == ["gsm8k-train-0001", "gsm8k-train-0002"]
        for row in failed:
            assert row["requests"] == 4 and row["tokens"] > 4 * 300
            assert len(row["replies"]) == 2


# Looking and measuring


def test_inspecting_a_file_with_and_without_its_problems(run):
    assert run("--source", "world", "--split", "test", "--out", "s.jsonl")[0] == 0
    for more in ((), ("--data", "mini-gsm", "--split", "test")):
        status, out, err = run("--inspect", "s.jsonl", *more)
        assert status == 0, err
        assert str(len(make_problems("test"))) in out
    assert any(problem.question in out for problem in make_problems("test"))


def test_measuring_a_file_on_the_problems_that_it_has(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    save_student(fresh_student(), folder)
    fields = [{"strategy": STRATEGY}, {"strategy": STRATEGY.replace("two", "it")}]
    asked = [
        {"id": f"p{i}", "question": "name an even number", "answer": "2"} | fields[i % 2]
        for i in range(6)
    ]
    Path("data.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8"
    )
    status, out, err = run(
        *("--measure", folder, "--data", "data.jsonl", "--samples", 2, "--max-new-tokens", 8),
        *("--limit", 5),
    )
    assert status == 0, err
    for words in ("no strategy (p_auto)", "these strategies (p_guide)", "5 problems, 2 samples"):
        assert words in out
    row = {"problem_type": "zeppelin", "approach": "violinist", "steps": ["Add"]}
    Path("s.jsonl").write_text(
        json.dumps(row | {"id": "p0"}) + "\n" + json.dumps(row | {"id": "p1"}), encoding="utf-8"
    )
    status, _, err = run(
        "--measure", folder, "--data", "data.jsonl", "--strategies", "s.jsonl", "--samples", 2
    )
    assert status == 2 and "zeppelin" in err and "does not know" in err

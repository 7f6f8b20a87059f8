"""What several test files share: a quiet environment, and where real data may lie."""

import os
import re
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Inherited by the processes that tests start: the checkout is importable from any folder, and a
# test that reaches for the Hub fails at once.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
os.environ["HF_HUB_OFFLINE"] = "1"

# A shell that starts the tests in the background has Ctrl-C ignored, and processes inherit that;
# some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _folder(variable):
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    assert Path(value).is_dir(), f"{variable}={value} is no folder"
    return Path(value)


@pytest.fixture(scope="session")
def gsm8k_dir() -> Path:
    """The folder of GSM8K's original files."""
    return _folder("SGPO_GSM8K_DIR")


@pytest.fixture(scope="session")
def tokenizer_dir() -> Path:
    """The folder of the real Qwen2.5 tokenizer."""
    return _folder("SGPO_TOKENIZER_DIR")


@pytest.fixture(scope="session")
def real_student_dir() -> Path:
    """The folder of the real student, which tests/real_student/make.py makes."""
    return _folder("SGPO_REAL_STUDENT_DIR")


@pytest.fixture(scope="session")
def pretrained():
    """The student of `small_world`, shared by the session: train a copy."""
    from small_world import pretrained_student  # imports the package: after the environment is set

    return pretrained_student()


@pytest.fixture
def student(pretrained):
    """A copy of `pretrained`, to be trained."""
    from small_world import copy_of

    return copy_of(pretrained)


@pytest.fixture(scope="session")
def saved_student(pretrained, tmp_path_factory) -> Path:
    """The folder of `pretrained`: what LoRA and gradient checkpointing are loaded from."""
    from sgpo_mini.student import save_student

    folder = tmp_path_factory.mktemp("student")
    save_student(pretrained, folder)
    return folder


@pytest.fixture
def run(capsys):
    """Call the command line: (exit status, standard output, standard error without bars)."""

    def call(*arguments) -> tuple[int, str, str]:
        from sgpo_mini.__main__ import main  # after the environment above is set

        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return status, out, re.sub(r"[^\n]*\r", "", err)

    return call

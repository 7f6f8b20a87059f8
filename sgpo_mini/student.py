"""A student: a causal language model, its tokenizer, and what the rest needs to know of the two."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from tokenizers import AddedToken
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from .files import CHECKSUMS, MODEL_FILES, damaged_files, read_json
from .strategies import autonomous_prompt, guided_prompt

TINY_STUDENT = Path(__file__).parent / "mini_gsm" / "tiny_student"
UNKNOWN_LIMIT = 0.02  # largest share of a text's tokens that a student may not know

_SPECIAL = ["<pad>", "<|end|>", "<|user|>", "<|assistant|>"]
_PIECES = re.compile(r" ?[^\W\d_]+|\d+| [^\w\s] |#+ |[^\w\s]|\s")
_WORDS = re.compile(r"\w+|[^\w\s]")
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_LORA_TARGETS = "all-linear"  # every linear layer but the LM head


@dataclass
class Student:
    """A model with its tokenizer, and how to read both.

    `head` turns the states that `hidden_states` gives into logits: the LM head, or nothing where
    the model does more to its logits than that (then the states are the logits themselves).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stop_ids: tuple[int, ...]  # any of them ends a completion
    pad_id: int
    plain_head: bool  # the logits are the LM head of the last hidden state, and nothing more
    compute_dtype: torch.dtype = torch.float32
    gradient_checkpointing: bool = False
    sources: tuple[str, ...] = ()  # loaded from: folder or NAME@COMMIT of the Hub; then the base's

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def causal_model(self) -> PreTrainedModel:
        """The model itself, without the wrapper that LoRA puts around it."""
        wrapped = hasattr(self.model, "peft_config") and hasattr(self.model, "get_base_model")
        return self.model.get_base_model() if wrapped else self.model

    @property
    def head(self) -> Callable[[Tensor], Tensor]:
        return self.causal_model.get_output_embeddings() if self.plain_head else torch.nn.Identity()

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute in `compute_dtype`; weights and optimizer stay float32.

        Passes with and without gradient need a context each. torch 2.6 keeps the weights that it
        has cast, even for a context around this one, and what was cast without gradient gives none.
        """
        enabled = self.compute_dtype != torch.float32
        torch.clear_autocast_cache()
        with torch.autocast(self.device.type, self.compute_dtype, enabled=enabled):
            yield
        torch.clear_autocast_cache()

    def hidden_states(self, **inputs) -> tuple[Tensor, object]:
        """(states (B, T, H) for `head`, key-value cache or None) of one forward pass."""
        if self.plain_head:
            output = self.causal_model.base_model(**inputs)
            return output.last_hidden_state, output.past_key_values
        output = self.causal_model(**inputs)
        return output.logits, output.past_key_values

    def prompt_ids(self, question: str, strategy: str = "") -> list[int]:
        """Token ids of the prompt: autonomous, or guided where a strategy is given.

        Through the tokenizer's chat template when it has one, else as plain text.
        """
        messages = guided_prompt(question, strategy) if strategy else autonomous_prompt(question)
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
            return self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self.tokenizer(f"{messages[0]['content']}\n\nSolution:\n")["input_ids"]

    def completion_ids(self, text: str) -> list[int]:
        """Token ids of a completion, ended by the stop token: what SFT and pretraining learn."""
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.stop_ids[0]]

    def decode(self, ids: Iterable[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def load_student(
    name: str | Path = "tiny",
    *,
    device: str | None = None,
    lora_rank: int = 0,
    gradient_checkpointing: bool = False,
) -> Student:
    """Load a student: "tiny" (the shipped one), a folder, or a model's name on the Hub.

    A folder may hold a LoRA adapter in peft's format. With `lora_rank` above 0 new adapters are
    put on a frozen base, which is then held in the compute dtype; otherwise all weights are
    trainable float32. Raises ValueError where the name leads nowhere.
    """
    path = TINY_STUDENT if str(name) == "tiny" else Path(name)
    if path.is_file():
        raise ValueError(f"{path} is a file: give the folder that holds the model")
    source = str(path) if path.is_dir() or path == TINY_STUDENT else str(name)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = compute_dtype(device)
    has_adapter = (path / "adapter_config.json").is_file()
    try:
        _check_files(path)
        base = _base_of_adapter(path) if has_adapter else source
        tokenizer_here = not has_adapter or (path / "tokenizer_config.json").is_file()
        tokenizer = AutoTokenizer.from_pretrained(
            source if tokenizer_here else base, trust_remote_code=False
        )
        model, loading = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=dtype if lora_rank or has_adapter else torch.float32,
            use_safetensors=True,  # never a pickle, which could run code
            trust_remote_code=False,
            output_loading_info=True,
        )
        if missing := sorted(loading["missing_keys"]):
            raise ValueError(f"the weights lack {len(missing)} tensors, such as {missing[0]}")
    except Exception as error:  # what the libraries raise on a user's files: many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"no student can be loaded from {str(name)!r} ({reason}); give 'tiny', a folder with "
            "config.json, model.safetensors and the tokenizer's files, or a model's name on the Hub"
        ) from error
    stop_ids, pad_id = _stop_and_pad(model, tokenizer)
    # The model's own generation settings must not reach our sampling: rollouts are samples of
    # the policy. Only the token ids are kept.
    model.generation_config = GenerationConfig(eos_token_id=list(stop_ids), pad_token_id=pad_id)
    if has_adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, source, is_trainable=True)
        rank = model.peft_config["default"].r
        if lora_rank not in (0, rank):
            raise ValueError(f"{name} holds a LoRA adapter of rank {rank}, not {lora_rank}")
    elif lora_rank:
        model = _add_lora(model, lora_rank)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.to(device)
    _own_memory(model)
    student = Student(model, tokenizer, stop_ids, pad_id, True, dtype, gradient_checkpointing)
    commit = getattr(student.causal_model.config, "_commit_hash", None)
    names = (source, base) if has_adapter else (source,)
    student.sources = tuple(n if Path(n).is_dir() else f"{n}@{commit}" for n in names)
    student.plain_head = _head_is_plain(student)
    return student


def new_student(texts: Iterable[str], layers: int = 4, width: int = 128, seed: int = 0) -> Student:
    """A fresh small student with a word-level tokenizer made of the words of `texts`.

    Every word, every whole number and every other character is one token; the words that a prompt
    adds to question and strategy are known too. The model has Qwen2's architecture with heads of
    32. Raises ValueError where `width` is no multiple of 32.
    """
    if width < 32 or width % 32:
        raise ValueError(f"width must be a multiple of 32, not {width}")
    tokenizer = _word_tokenizer([*texts, guided_prompt("", "")[0]["content"]])
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    stop_ids, pad_id = _stop_and_pad(model, tokenizer)
    model.generation_config = GenerationConfig(eos_token_id=list(stop_ids), pad_token_id=pad_id)
    return Student(model, tokenizer, stop_ids, pad_id, plain_head=True)


def save_student(student: Student, folder: str | Path) -> None:
    """Save weights (safetensors; LoRA adapters in peft's format) and tokenizer to a folder."""
    student.model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)


def compute_dtype(device: str) -> torch.dtype:
    """bfloat16 where the GPU computes in it, float16 on older GPUs, float32 on the CPU.

    Asked of the hardware: torch.cuda.is_bf16_supported() is also true where it is emulated (T4).
    """
    if not str(device).startswith("cuda"):
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def refuse_unknown_words(student: Student, texts: Iterable[str]) -> None:
    """Raise ValueError if more than 2 % of the words of some texts are unknown to the student.

    A word is unknown when it does not survive encoding and decoding its text. A real tokenizer
    knows every word; the tiny student's leaves out what it never saw, and training on such a text
    would be noise.
    """
    texts = list(texts)
    if not texts:
        return
    ids = student.tokenizer(texts, add_special_tokens=False)["input_ids"]
    count, unknown = 0, Counter()
    for text, decoded in zip(texts, student.tokenizer.batch_decode(ids), strict=True):
        words = Counter(_WORDS.findall(text))
        count += words.total()
        unknown += words - Counter(_WORDS.findall(decoded))
    share = unknown.total() / max(count, 1)
    if share > UNKNOWN_LIMIT:
        raise ValueError(
            f"the student does not know {share:.0%} of the words of these problems (such as "
            f"{', '.join(map(repr, list(unknown)[:8]))}); a word-level student reads only what it "
            "was made of, the tiny one mini-GSM: give a real model (--student NAME or FOLDER), or "
            "make one of these texts (new_student)"
        )


def _word_tokenizer(texts: Iterable[str]) -> Qwen2Tokenizer:
    """One token for every word with the blank before it, every number and every operator.

    transformers 5 reads the tokenizer of a Qwen2 folder as a Qwen2Tokenizer, whatever the folder
    says, and that one cuts numbers into digits. So the words are added tokens: those are found
    first, the longest match from the left, and decode to themselves.
    """
    pieces = {piece for text in texts for piece in _PIECES.findall(text)} - {" "}
    ordered = sorted(pieces, key=lambda p: (p.isdigit(), int(p) if p.isdigit() else 0, p))
    blank = "\u0120"  # how byte-level BPE writes " "
    vocabulary = {word: index for index, word in enumerate([*_SPECIAL, blank, *ordered])}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        pad_token="<pad>",
        unk_token="<pad>",  # never written: what is unknown leaves no token at all
        eos_token="<|end|>",
        extra_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=_CHAT_TEMPLATE,
    )
    tokenizer.add_tokens(
        [AddedToken(word, normalized=False, single_word=word.isdigit()) for word in ordered]
    )
    return tokenizer


@torch.no_grad()
def _own_memory(model: PreTrainedModel) -> None:
    """Copy the weights that lie in the memory map of their file.

    Such a file can't be deleted or replaced on Windows, and what is written into it changes the
    model.
    """
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def _check_files(folder: Path) -> None:
    """Raise ValueError, naming the file, where one is cut short or is not as it was saved."""
    copy = "take a fresh copy of it"
    for path in (folder / name for name in MODEL_FILES if name.endswith(".json")):
        if path.is_file():
            read_json(path, copy)
    if (folder / CHECKSUMS).is_file() and (damaged := damaged_files(folder)):
        raise ValueError(
            f"{folder / damaged[0]} is missing or not as it was saved: {copy}, or remove "
            f"{CHECKSUMS} if it was changed on purpose"
        )


def _base_of_adapter(folder: Path) -> str:
    """The model that a LoRA adapter in peft's format was made for."""
    if not (folder / "adapter_model.safetensors").is_file():  # peft would take a pickle instead
        raise ValueError("an adapter without adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if not config.get("base_model_name_or_path"):
        raise ValueError("its adapter_config.json names no base model")
    return config["base_model_name_or_path"]


def _add_lora(model: PreTrainedModel, rank: int) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=_LORA_TARGETS, task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng(devices=[]):
        # Adapters start at random, and equal runs must start alike.
        torch.default_generator.manual_seed(0)
        return get_peft_model(model, settings)  # the adapters are float32, whatever the base is


def _stop_and_pad(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> tuple[tuple[int, ...], int]:
    """(stop token ids, pad id): the tokenizer's end token first, then all that the model names."""
    ids = [tokenizer.eos_token_id]
    for config in (model.generation_config, model.config.get_text_config()):
        named = getattr(config, "eos_token_id", None)
        ids += named if isinstance(named, list) else [named]
    stop_ids = tuple(dict.fromkeys(i for i in ids if isinstance(i, int)))
    if not stop_ids:
        raise ValueError("the tokenizer names no end token: set eos_token in its configuration")
    pad_id = tokenizer.pad_token_id
    return stop_ids, stop_ids[0] if pad_id is None else pad_id


@torch.no_grad()
def _head_is_plain(student: Student) -> bool:
    """Whether the model's own logits are its LM head of the last hidden state, and nothing more.

    A cap on the logits, c · tanh(z / c), all but leaves small ones alone. So what comes out of the
    head is first stretched until its largest number is 1000, which no cap lets pass.
    """
    ids = torch.tensor([[student.stop_ids[0], 0, 1]], device=student.device)
    with student.autocast():
        states = student.causal_model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        head = student.causal_model.get_output_embeddings()
        if head is None:
            return False
        stretch = 1000.0 / head(states).float().abs().max().clamp(min=1e-30)
        hook = head.register_forward_hook(lambda module, inputs, output: output.float() * stretch)
        try:
            expected = head(states)
            logits = student.causal_model(input_ids=ids, use_cache=False).logits.float()
        finally:
            hook.remove()
    return bool(torch.allclose(expected, logits, rtol=1e-2, atol=1.0))

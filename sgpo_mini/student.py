"""A student: a causal language model with its tokenizer; loading, creating and saving one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from .config import DTYPES
from .strategies import autonomous_prompt, guided_prompt
from .support.chat import (
    Messages,
    message_ids,
    refuse_larger_than_embedding,
    set_template,
    stop_and_pad,
    template_settings,
)
from .support.loading import (
    add_lora,
    base_of_adapter,
    check_files,
    checkpoint_gradients,
    head_is_plain,
    load_adapter,
    load_weights,
    own_memory,
    reason_of,
    refuse_unservable,
    without_dropout,
)
from .support.word_tokenizer import word_tokenizer

TINY_STUDENT = Path(__file__).parent / "mini_gsm" / "tiny_student"


@dataclass
class Student:
    """A model with its tokenizer.

    `head` turns the states from `hidden_states` into logits. It is the LM head, or the identity if
    the model also transforms its logits (then the states are the logits themselves).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stop_ids: tuple[int, ...]  # each of them ends a completion
    pad_id: int
    plain_head: bool  # logits = LM head(last hidden state), without further steps
    compute_dtype: torch.dtype = torch.float32
    gradient_checkpointing: bool = False
    sources: tuple[str, ...] = ()  # folder or Hub NAME@COMMIT; an adapter's base is second

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def causal_model(self) -> PreTrainedModel:
        """The model without its LoRA wrapper."""
        wrapped = hasattr(self.model, "peft_config") and hasattr(self.model, "get_base_model")
        return self.model.get_base_model() if wrapped else self.model

    @property
    def chat_template_kwargs(self) -> dict:
        """Extra arguments of the chat template, stored in the tokenizer."""
        return template_settings(self.tokenizer)

    @property
    def head(self) -> Callable[[Tensor], Tensor]:
        return self.causal_model.get_output_embeddings() if self.plain_head else torch.nn.Identity()

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute in `compute_dtype`; weights and optimizer stay float32.

        Use one context for passes with gradient and another for passes without: torch 2.6 caches
        cast weights, even across nested contexts, and weights cast without gradient get none.
        """
        enabled = self.compute_dtype != torch.float32
        torch.clear_autocast_cache()
        with torch.autocast(self.device.type, self.compute_dtype, enabled=enabled):
            yield
        torch.clear_autocast_cache()

    @contextmanager
    def cast_once(self) -> Iterator[None]:
        """Linear layers hold their weights in `compute_dtype`: no gradient, the same results.

        Without gradient, autocast would cast every weight anew for every token. An embedding that
        shares its weights with the head keeps its own.
        """
        held = []
        if self.compute_dtype != torch.float32:
            linear = (m for m in self.model.modules() if type(m) is torch.nn.Linear)
            held = [(m, n, p) for m in linear for n, p in m.named_parameters(recurse=False)]
        try:
            for module, name, parameter in held:
                cast = parameter.detach().to(self.compute_dtype)
                module._parameters[name] = torch.nn.Parameter(cast, requires_grad=False)
            yield
        finally:
            for module, name, parameter in held:
                module._parameters[name] = parameter

    def hidden_states(self, **inputs) -> tuple[Tensor, object]:
        """One forward pass: (states (B, T, H) for `head`, key-value cache or None)."""
        if self.plain_head:
            output = self.causal_model.base_model(**inputs)
            return output.last_hidden_state, output.past_key_values
        output = self.causal_model(**inputs)
        return output.logits, output.past_key_values

    def prompt_ids(self, question: str, strategy: str = "") -> list[int]:
        """Token ids of the autonomous prompt, or of the guided prompt if a strategy is given.

        Uses the tokenizer's chat template if there is one, else plain text.
        """
        messages = guided_prompt(question, strategy) if strategy else autonomous_prompt(question)
        return self.message_ids(messages, "\n\nSolution:\n")

    def message_ids(self, messages: Messages, plain_ending: str) -> list[int]:
        """Token ids of chat messages; without a chat template, plain text plus `plain_ending`."""
        return message_ids(self.tokenizer, messages, plain_ending)

    def completion_ids(self, text: str) -> list[int]:
        """Token ids of a completion plus the stop token, as SFT and pretraining learn it."""
        return [*self.tokenizer(text, add_special_tokens=False)["input_ids"], self.stop_ids[0]]

    def decode(self, ids: Iterable[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def load_student(
    name: str | Path = "tiny",
    *,
    device: str | None = None,
    lora_rank: int = 0,
    dtype: str = "auto",
    gradient_checkpointing: bool = False,
    chat_template_kwargs: Mapping | None = None,
) -> Student:
    """Load a student: "tiny" (the shipped one), a folder, or a model's name on the Hub.

    A folder may hold a LoRA adapter in peft's format. With `lora_rank` above 0, the base is frozen,
    kept in the compute dtype, and gets new adapters; otherwise all weights are trainable float32.
    The compute dtype is the one that suits the device, or `dtype`: "float32" or "bfloat16".
    `chat_template_kwargs` are settings of the chat template, such as {"enable_thinking": False},
    and are saved with the student. Every dropout is set to 0. Raises ValueError if the name cannot
    be loaded or the model cannot generate rollouts.
    """
    path = TINY_STUDENT if str(name) == "tiny" else Path(name)
    if path.is_file():
        raise ValueError(f"{path} is a file: give the folder that holds the model")
    # Absolute, because an adapter is saved with this path and may be loaded from elsewhere.
    source = str(path.absolute()) if path.is_dir() or path == TINY_STUDENT else str(name)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    compute = compute_dtype(device) if dtype == "auto" else getattr(torch, dtype)
    has_adapter = (path / "adapter_config.json").is_file()
    base = read = source
    try:
        check_files(path)
        base = base_of_adapter(path) if has_adapter else source
        tokenizer_here = not has_adapter or (path / "tokenizer_config.json").is_file()
        read = source if tokenizer_here else base
        tokenizer = AutoTokenizer.from_pretrained(read, trust_remote_code=False)
        read = base
        model = load_weights(base, compute if lora_rank or has_adapter else torch.float32)
    except Exception as error:  # the libraries raise many types
        told = f"{reason_of(error)}); give 'tiny', a folder with config.json, model.safetensors "
        told += "and the tokenizer's files, or a model's name on the Hub"
        if read != source:
            told = f"its base model {base!r} can't be loaded: {reason_of(error)}); "
            told += f"write the base's folder or Hub name into {path / 'adapter_config.json'}"
        raise ValueError(f"no student can be loaded from {str(name)!r} ({told}") from error
    try:
        set_template(tokenizer, chat_template_kwargs)
        student = _student_of(model, tokenizer, compute)
        if has_adapter:
            student.model = load_adapter(model, path)
            rank = student.model.peft_config["default"].r
            if lora_rank not in (0, rank):
                raise ValueError(f"it holds a LoRA adapter of rank {rank}, not {lora_rank}")
        elif lora_rank:
            student.model = add_lora(model, lora_rank)
        without_dropout(student.model)
        student.model.to(device).eval()
        own_memory(student.model)
        with student.autocast():
            student.plain_head = head_is_plain(model, student.stop_ids[0])
        # Without autocast where the weights are float32: there is less rounding to allow for.
        half = any(parameter.dtype != torch.float32 for parameter in model.parameters())
        with torch.autocast(student.device.type, compute, enabled=half):
            refuse_unservable(model, student.hidden_states, student.pad_id, half)
            if gradient_checkpointing:
                student.gradient_checkpointing = True
                checkpoint_gradients(student.model, student.hidden_states, half)
    except Exception as error:
        kind = type(model).__name__
        raise ValueError(
            f"{str(name)!r} ({kind}) can't be used as a student: {reason_of(error)}"
        ) from error
    commit = getattr(model.config, "_commit_hash", None)
    names = (source, base) if has_adapter else (source,)
    student.sources = tuple(n if Path(n).is_dir() else f"{n}@{commit}" for n in names)
    return student


def new_student(
    texts: Iterable[str],
    layers: int = 4,
    width: int = 128,
    seed: int = 0,
    initial_std: float = 0.02,
    spaced_numbers: bool = False,
) -> Student:
    """A new small student with a word-level tokenizer built from the words of `texts`.

    Every word, every whole number and every other character is one token; the vocabulary includes
    the words that the prompts add. The model has Qwen2's architecture with head size 32, and its
    weights are drawn with the standard deviation `initial_std`. A narrow model learns to copy from
    its prompt much sooner with 0.08 than with Qwen2's 0.02. With `spaced_numbers`, a number after a
    space is one token, too. Raises ValueError if `width` is not a multiple of 32.
    """
    if width < 32 or width % 32:
        raise ValueError(f"width must be a multiple of 32, not {width}")
    tokenizer = word_tokenizer([*texts, guided_prompt("", "")[0]["content"]], spaced_numbers)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        max_position_embeddings=512,
        initializer_range=initial_std,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    return _student_of(model, tokenizer)


def save_student(student: Student, folder: str | Path) -> None:
    """Save weights (safetensors; LoRA adapters in peft's format) and tokenizer to a folder."""
    student.model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)


def compute_dtype(device: str) -> torch.dtype:
    """bfloat16 on GPUs that support it, float16 on older GPUs, float32 on the CPU.

    We query the device capability, because torch.cuda.is_bf16_supported() is also True when
    bfloat16 is emulated (T4).
    """
    if not str(device).startswith("cuda"):
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def _student_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype = torch.float32
) -> Student:
    """A student of model and tokenizer, with the tokens that end a completion."""
    configs = [model.generation_config, model.config.get_text_config()]
    stop_ids, pad_id = stop_and_pad(tokenizer, configs)
    rows = model.get_input_embeddings().weight.shape[0]
    refuse_larger_than_embedding(tokenizer, rows, (stop_ids[0], pad_id))
    # Keep only the token ids of the model's generation settings: the rest, such as top_k, would
    # change the sampling distribution, and rollouts must be samples of the policy.
    model.generation_config = GenerationConfig(eos_token_id=list(stop_ids), pad_token_id=pad_id)
    return Student(model, tokenizer, stop_ids, pad_id, plain_head=True, compute_dtype=dtype)

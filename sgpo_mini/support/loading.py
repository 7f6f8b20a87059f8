"""Loading a model's weights and adapters, and checking whether it can be a student.

Weights come only from safetensors and must fill the model completely, LoRA adapters too. We test
with a few tokens whether rollouts work, instead of keeping a list of model names.
"""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from .files import CHECKSUMS, MODEL_FILES, damaged_files, read_json

_LORA_TARGETS = "all-linear"  # every linear layer except the LM head


def load_weights(source: str, dtype: torch.dtype) -> PreTrainedModel:
    """A causal language model from a folder or the Hub; ValueError if tensors are missing."""
    model, loading = AutoModelForCausalLM.from_pretrained(
        source,
        dtype=dtype,
        use_safetensors=True,  # never a pickle, which could run code
        trust_remote_code=False,
        output_loading_info=True,
    )
    if missing := sorted(loading["missing_keys"]):
        raise ValueError(f"the weights lack {len(missing)} tensors, such as {missing[0]}")
    return model


def check_files(folder: Path) -> None:
    """Raise ValueError with the file's path if one is damaged or changed since it was saved."""
    copy = "get a fresh copy of it"
    for path in (folder / name for name in MODEL_FILES if name.endswith(".json")):
        if path.is_file():
            read_json(path, copy)
    if (folder / CHECKSUMS).is_file() and (damaged := damaged_files(folder)):
        raise ValueError(
            f"{folder / damaged[0]} is missing or not as it was saved: {copy}, or remove "
            f"{CHECKSUMS} if it was changed on purpose"
        )


@torch.no_grad()
def own_memory(model: PreTrainedModel) -> None:
    """Copy weights that are memory-mapped from their file.

    Windows can't delete or replace a mapped file, and writing to it would change the model.
    """
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def base_of_adapter(folder: Path) -> str:
    """The base model of a LoRA adapter in peft's format: a name on the Hub or an absolute path."""
    if not (folder / "adapter_model.safetensors").is_file():  # peft would load a pickle instead
        raise ValueError("its adapter has no adapter_model.safetensors")
    config = read_json(folder / "adapter_config.json", "get a fresh copy of it")
    if config.get("peft_type") != "LORA":
        raise ValueError(f"its adapter has the peft type {config.get('peft_type')!r}, not LORA")
    if not (name := config.get("base_model_name_or_path")) or not isinstance(name, str):
        raise ValueError("its adapter_config.json names no base model")
    base = Path(name)
    if base.is_absolute() and not base.is_dir():
        told = f"its base model {base} doesn't exist: write its new path into "
        raise ValueError(f"{told}{folder / 'adapter_config.json'} (base_model_name_or_path)")
    if (base / "adapter_config.json").is_file():
        raise ValueError(f"its base model {base} is an adapter itself: merge that one first")
    return str(base.absolute()) if base.is_dir() else name


def load_adapter(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with a folder's LoRA adapter, ready for further training.

    Raises ValueError if the folder lacks tensors of the adapter or has others.
    """
    from peft import PeftConfig, get_peft_model

    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = False
    config.base_model_name_or_path = model.name_or_path
    file = "adapter_model.safetensors"
    try:
        with safe_open(folder / file, "pt") as tensors:
            saved = set(tensors.keys())
    except SafetensorError as error:
        raise ValueError(f"its {file} is damaged ({error})") from error
    with torch.random.fork_rng(devices=[]):
        model = get_peft_model(model, config)
    loaded = model.load_adapter(str(folder), "default", is_trainable=True)
    missing = loaded.missing_keys  # doesn't list trained biases
    missing += [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and name.endswith("base_layer.bias") and name not in saved
    ]
    if missing:
        raise ValueError(f"its {file} lacks {len(missing)} tensors, such as {missing[0]}")
    if other := loaded.unexpected_keys:
        raise ValueError(f"its {file} holds {len(other)} tensors of another model: {other[0]}")
    return model


def add_lora(model: PreTrainedModel, rank: int) -> PreTrainedModel:
    """The frozen model with new LoRA adapters."""
    from peft import LoraConfig, get_peft_model

    # The routers of Llama 4 and Phi-3.5-MoE are linear layers that return more than the product.
    routers = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and not _gives_one_tensor(layer)
    ]
    settings = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=_LORA_TARGETS,
        exclude_modules=routers or None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        # Adapters start at random; a fixed seed makes equal runs start alike.
        torch.default_generator.manual_seed(0)
        return get_peft_model(model, settings)  # the adapters are float32, whatever the base is


@torch.no_grad()
def _gives_one_tensor(layer: torch.nn.Linear) -> bool:
    if type(layer) is torch.nn.Linear:
        return True
    return isinstance(layer(layer.weight.new_zeros(1, layer.in_features)), Tensor)


def without_dropout(model: PreTrainedModel) -> None:
    """Set all dropout of a model, and the noise of its routers, to 0.

    Gradient checkpointing needs training mode. There, dropout and noise would make the updated
    policy differ from the one that sampled.
    """
    holders: list[object] = [model.config, *getattr(model, "peft_config", {}).values()]
    for holder in holders:  # configurations may contain others
        parts = [part for part in vars(holder).values() if isinstance(part, PreTrainedConfig)]
        holders += [part for part in parts if not any(part is known for known in holders)]
    for holder in [*holders, *model.modules()]:
        for name, value in list(vars(holder).items()):
            dropout = "drop" in name or "jitter" in name
            dropout |= name == "p" and isinstance(holder, torch.nn.modules.dropout._DropoutNd)
            if dropout and isinstance(value, float):
                setattr(holder, name, 0.0)


@torch.no_grad()
def checkpoint_gradients(
    model: PreTrainedModel, compute: Callable[..., tuple[Tensor, object]], half: bool
) -> None:
    """Enable gradient checkpointing; ValueError if training mode changes the hidden states."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    ids = torch.tensor([[0, 1, 2, 3]], device=model.device)
    alone = compute(input_ids=ids, use_cache=False)[0]
    model.train()
    with torch.random.fork_rng(devices=[]):
        states = compute(input_ids=ids, use_cache=False)[0]
    model.eval()
    if not _close(states, alone, half):
        raise ValueError(
            "gradient checkpointing needs training mode, which changes its hidden states"
        )


@torch.no_grad()
def head_is_plain(model: PreTrainedModel, stop_id: int) -> bool:
    """Whether the model's logits are exactly its LM head applied to the last hidden state.

    A cap on the logits, c · tanh(z / c), hardly changes small ones. So we first scale the head's
    output until its largest value is 1000, which any cap would reduce.
    """
    ids = torch.tensor([[stop_id, 0, 1]], device=model.device)
    output = model.base_model(input_ids=ids, use_cache=False)
    head = model.get_output_embeddings()
    if head is None or not hasattr(output, "last_hidden_state"):  # Llama 4 has no inner model
        return False
    states = output.last_hidden_state
    stretch = 1000.0 / head(states).float().abs().max().clamp(min=1e-30)
    hook = head.register_forward_hook(lambda module, inputs, output: output.float() * stretch)
    try:
        expected = head(states)
        logits = model(input_ids=ids, use_cache=False).logits.float()
    finally:
        hook.remove()
    return bool(torch.allclose(expected, logits, rtol=1e-2, atol=1.0))


@torch.no_grad()
def refuse_unservable(
    model: PreTrainedModel,
    compute: Callable[..., tuple[Tensor, object]],
    pad_id: int,
    half: bool,
) -> None:
    """Raise ValueError unless a padded prompt on a repeated cache gives the same states as alone.

    Rollouts are sampled and scored this way. `compute` is the student's `hidden_states`, and `half`
    says whether it computes in half precision.
    State-space and hybrid models fail, because their cache holds more than keys and values; so do
    models that count padding in their positions.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    some = [i for i in range(min(rows, 9)) if i != pad_id]
    tokens = [some[i % len(some)] for i in range(8)]
    try:
        states = _states_on_a_cache(model, compute, tokens, pad_id)  # (3, H)
    except Exception as error:
        raise ValueError(
            "rollouts repeat the keys and values of a padded prompt for its group, which this "
            f"model's cache doesn't allow ({reason_of(error)})"
        ) from error
    for state, start in zip(states, (4, 0, 4), strict=True):
        ids = torch.tensor([tokens[start:]], device=model.device)
        alone = compute(input_ids=ids, use_cache=False)[0][0, -1]
        if not alone.isfinite().all():
            raise ValueError("its weights give hidden states that are not finite")
        if not _close(state, alone, half):
            raise ValueError("padding a prompt and reading it in parts changes its hidden states")


def _states_on_a_cache(model, compute, tokens: list[int], pad_id: int) -> Tensor:
    """The last states (3, H) of the last 4 tokens, of all 8, and of the last 4 again.

    One batch holds both prompts; the three tokens after them take two steps.
    """
    ids = torch.tensor([tokens, [pad_id] * 4 + tokens[4:]], device=model.device)
    mask = torch.tensor([[1] * 8, [0] * 4 + [1] * 4], device=model.device)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache = model.base_model(
        input_ids=ids[:, :5],
        attention_mask=mask[:, :5],
        position_ids=positions[:, :5],
        use_cache=True,
    ).past_key_values
    for layer in cache.layers:
        empty = isinstance(layer, DynamicLayer) and layer.keys is None
        if empty or not hasattr(layer, "batch_select_indices"):
            raise ValueError(
                f"a layer of its cache is {'empty' if empty else type(layer).__name__}"
            )
    rows = torch.tensor([1, 0, 1], device=model.device)
    cache.batch_select_indices(rows)
    for begin, end in ((5, 7), (7, 8)):
        states, cache = compute(
            input_ids=ids[rows, begin:end],
            attention_mask=mask[rows, :end],
            position_ids=positions[rows, begin:end],
            past_key_values=cache,
            use_cache=True,
        )
    return states[:, -1]


def _close(states: Tensor, expected: Tensor, half: bool) -> bool:
    """Whether two results differ only by rounding; in half precision it may change an expert."""
    states, expected = states.float(), expected.float()
    return bool((states - expected).norm() <= (0.25 if half else 5e-3) * expected.norm())


def reason_of(error: Exception) -> str:
    """An error's message in one line; a first line that ends in a colon includes the next."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    said = next((i for i, line in enumerate(lines) if not line.endswith(":")), 0)
    told = " ".join(lines[: said + 1])
    if not told or not isinstance(error, (OSError, ValueError, RuntimeError)):
        told = f"{type(error).__name__}: {told}"  # a KeyError says only its key
    return told if len(told) <= 300 else f"{told[:300]} ..."

"""loading.py: models that rollouts can be drawn from, dropout, adapters; the rest is refused."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import peft
import pytest
import torch
import transformers
from plain_decoding import generate
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from sgpo_mini import decoding
from sgpo_mini.rollout import sample, score
from sgpo_mini.student import Student, load_student, new_student, save_student

TOKENIZER = new_student(["a b c d e f g h"], 1, 32).tokenizer
PROMPTS = [[5, 6, 7], [8], [6, 9, 5, 7, 8, 10, 6]]
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": len(TOKENIZER),
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def made(name: str, **settings) -> PreTrainedModel:
    """A random model of an architecture, its weights scaled up, so that it has views."""
    config = getattr(transformers, f"{name}Config")(**SMALL | settings)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(4.0)
    return model


def loaded(model: PreTrainedModel, folder: Path, **settings) -> Student:
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return load_student(folder, device="cpu", **settings)


def refusal(folder: Path, **settings) -> str:
    """The one sentence that says why a folder holds no student."""
    with pytest.raises(ValueError) as caught:
        load_student(folder, device="cpu", **settings)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    return str(caught.value)


# Architectures

MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
MAMBA = {"mamba_d_state": 8, "mamba_n_heads": 8, "mamba_d_head": 8}
SERVED = {
    "Llama4Text": {"head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 48}
    | {"attention_chunk_size": 4, "no_rope_layers": [1, 0]},
    "GptOss": {"head_dim": 8, "num_local_experts": 4, "sliding_window": 4},
    "Qwen3Moe": {"head_dim": 8, "num_experts": 4} | MOE,
    "DeepseekV3": {"num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16}
    | {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "n_routed_experts": 4}
    | {"n_group": 1, "topk_group": 1, "n_shared_experts": 1, "first_k_dense_replace": 1}
    | MOE,
    "Bloom": {"n_layer": 2, "n_head": 4},  # knows positions from the mask alone
    "OPT": {"ffn_dim": 48, "word_embed_proj_dim": 16},
}
REFUSED = {
    "Mamba": {"state_size": 8, "time_step_rank": 4},
    "Jamba": {"attn_layer_period": 2, "attn_layer_offset": 0, "num_experts": 2}
    | {"mamba_d_state": 8, "mamba_dt_rank": 4, "use_mamba_kernels": False},
    "Bamba": {"attn_layer_indices": [0]} | MAMBA,
    "GraniteMoeHybrid": {"layer_types": ["attention", "mamba"], "num_local_experts": 0}
    | {"shared_intermediate_size": 16}
    | MAMBA,
    "Qwen3Next": {"head_dim": 8, "layer_types": ["full_attention", "linear_attention"]}
    | {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8}
    | {"linear_value_head_dim": 8, "num_experts": 4, "shared_expert_intermediate_size": 16}
    | MOE,
    "Lfm2": {"layer_types": ["conv", "full_attention"]},
    "RecurrentGemma": {"lru_width": 32, "attention_window_size": 8, "head_dim": 8}
    | {"block_types": ["recurrent", "attention"]},
    "Rwkv": {"attention_hidden_size": 32},
    "Bart": {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "encoder_layers": 1},
    "Roberta": {"is_decoder": True},  # counts positions by columns that are not padding
    "OpenAIGPT": {"n_embd": 32, "n_layer": 2, "n_head": 4},  # keeps no keys and values
}


@pytest.mark.parametrize("name", SERVED)
def test_an_architecture_that_is_served_decodes_as_generate_does(tmp_path, name):
    student = loaded(made(name, **SERVED[name]), tmp_path)
    torch.manual_seed(1)
    expected = generate(student, PROMPTS, 3, max_new_tokens=8)
    torch.manual_seed(1)
    drawn = sample(student, PROMPTS, 3, max_new_tokens=8)
    lengths = drawn.mask.sum(dim=1).int().tolist()
    got = [row[:n] for row, n in zip(drawn.tokens.tolist(), lengths, strict=True)]
    assert got == expected
    logps = score(student, PROMPTS, drawn)
    for i, completion in enumerate(got):
        prompt = PROMPTS[drawn.rows[i]]
        logits = student.causal_model(input_ids=torch.tensor([prompt + completion])).logits
        exact = logits[0, len(prompt) - 1 : -1].log_softmax(-1)[range(len(completion)), completion]
        torch.testing.assert_close(logps[i, : len(completion)], exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lora_rank", [0, 2])
@pytest.mark.parametrize("name", [*SERVED, "Bart", "Roberta", "Jamba"])
def test_half_precision_changes_nothing_in_what_is_served(tmp_path, monkeypatch, name, lora_rank):
    """As on a GPU: autocast for float32 weights, or a base held in bfloat16 under adapters."""
    monkeypatch.setattr("sgpo_mini.student.compute_dtype", lambda device: torch.bfloat16)
    made(name, **(SERVED | REFUSED)[name]).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    if name in REFUSED:
        refusal(tmp_path, lora_rank=lora_rank)
        return
    student = load_student(tmp_path, device="cpu", lora_rank=lora_rank, gradient_checkpointing=True)
    assert student.compute_dtype == torch.bfloat16
    drawn = []
    for cast_anew in (False, True):
        if cast_anew:
            monkeypatch.setattr(Student, "cast_once", lambda self: nullcontext())
            monkeypatch.setattr(decoding, "_held_in", lambda keys: keys.dtype)
        torch.manual_seed(0)
        drawn.append(sample(student, PROMPTS, 4, max_new_tokens=8))
    assert drawn[0].tokens.equal(drawn[1].tokens)
    torch.testing.assert_close(drawn[0].entropies, drawn[1].entropies, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["Llama4Text", "Phimoe"])
def test_adapters_leave_out_a_router_that_is_a_linear_layer_by_its_class_alone(tmp_path, name):
    model = made(name, **(SERVED | DROPOUTS)[name])
    student = loaded(model, tmp_path, lora_rank=2, gradient_checkpointing=True)
    drawn = sample(student, PROMPTS, 2, max_new_tokens=4)
    score(student, PROMPTS, drawn).sum().backward()
    trained = [n for n, p in student.model.named_parameters() if p.requires_grad]
    assert trained and not any("router" in name for name in trained)
    assert all(p.grad is not None for p in student.model.parameters() if p.requires_grad)


def test_adapters_are_put_on_linear_layers_of_a_class_of_their_own(tmp_path):
    """All linear layers of Falcon are."""
    student = loaded(made("Falcon", num_kv_heads=2), tmp_path, lora_rank=2)
    trained = {n.split(".lora_")[0] for n, p in student.model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 4


@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_that_rollouts_can_not_serve_is_refused_on_load(tmp_path, name):
    made(name, **REFUSED[name]).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    sentence = refusal(tmp_path)
    assert f"({name}" in sentence and "can't be used as a student" in sentence
    assert "keys and values" in sentence or "padding a prompt" in sentence


def test_a_model_that_sees_what_comes_after_is_refused(tmp_path):
    settings = {"head_dim": 8, "use_bidirectional_attention": True, "sliding_window": 4}
    made("Gemma3Text", **settings).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    assert "padding a prompt" in refusal(tmp_path)


def test_an_encoder_and_decoder_is_refused(tmp_path):
    config = transformers.T5Config(d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    sentence = refusal(tmp_path)
    assert "T5Config" in sentence and len(sentence) < 600


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    model = made("Llama")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = value
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    assert "not finite" in refusal(tmp_path)


# Dropout

DROPOUTS = {
    "Qwen2": {"attention_dropout": 0.3},
    "GPT2": {"resid_pdrop": 0.3, "embd_pdrop": 0.3, "attn_pdrop": 0.3},
    "OPT": {"dropout": 0.3, "attention_dropout": 0.3, "layerdrop": 0.3, "ffn_dim": 48}
    | {"word_embed_proj_dim": 32},
    "Falcon": {"hidden_dropout": 0.3, "attention_dropout": 0.3, "num_kv_heads": 2},
    "GPTNeoX": {"hidden_dropout": 0.3, "attention_dropout": 0.3},
    "Phi": {"resid_pdrop": 0.3, "embd_pdrop": 0.3, "attention_dropout": 0.3},
    "Phimoe": {"attention_dropout": 0.3, "router_jitter_noise": 0.3, "input_jitter_noise": 0.3}
    | {"num_local_experts": 4, "num_experts_per_tok": 2},
}


@pytest.mark.parametrize("name", DROPOUTS)
def test_the_policy_that_learns_is_the_one_that_sampled_though_the_model_has_dropout(
    tmp_path, name
):
    """Gradient checkpointing needs training mode: without a gradient the policy is evaluated."""
    model = made(name, **DROPOUTS[name])
    student = loaded(model, tmp_path, gradient_checkpointing=True)
    torch.manual_seed(0)
    drawn = sample(student, PROMPTS, 4, max_new_tokens=8)
    student.model.train()
    learning = score(student, PROMPTS, drawn)
    assert learning.requires_grad
    with torch.no_grad():
        sampled = score(student, PROMPTS, drawn)
    torch.testing.assert_close(learning, sampled, atol=1e-5, rtol=1e-5)


def test_dropout_of_an_adapter_is_off_too(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    loaded(made("Llama"), base)
    write_adapter(base, adapter, lora_dropout=0.5)
    student = load_student(adapter, device="cpu", gradient_checkpointing=True)
    student.model.train()
    drawn = sample(student, PROMPTS, 4, max_new_tokens=8)
    learning = score(student, PROMPTS, drawn)
    with torch.no_grad():
        torch.testing.assert_close(learning, score(student, PROMPTS, drawn), atol=1e-5, rtol=1e-5)
    assert learning.requires_grad


def test_a_model_whose_training_mode_is_another_policy_is_not_checkpointed(tmp_path, monkeypatch):
    """Noise that no dropout makes."""
    folder = tmp_path / "noisy"
    loaded(made("Llama"), folder)

    def noisy(self, states):
        return states + torch.randn_like(states) * 0.1 if self.training else states

    monkeypatch.setattr("transformers.models.llama.modeling_llama.LlamaRMSNorm.forward", noisy)
    load_student(folder, device="cpu")
    assert "training mode" in refusal(folder, gradient_checkpointing=True)


# Adapters


def write_adapter(base: Path, folder: Path, **settings) -> None:
    """An adapter as peft's users save one; it is not the identity."""
    model = AutoModelForCausalLM.from_pretrained(base)
    settings = {"r": 2, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | settings
    model = peft.get_peft_model(model, peft.LoraConfig(**settings))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    loaded(made("Llama"), folder)
    return folder


@pytest.fixture
def adapter(base, tmp_path) -> Path:
    write_adapter(base, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.1}, {"use_dora": True}, {}])
def test_an_adapter_saved_with_dropout_keeps_its_plain_head(base, tmp_path, settings):
    """Its modules come in training mode; the head is looked at in evaluation mode."""
    write_adapter(base, tmp_path, **settings)
    student = load_student(tmp_path, device="cpu")
    assert student.plain_head and not student.model.training


FIRST = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
DAMAGES = {
    "one is missing": (lambda w: w.pop(FIRST), "lacks 1 tensors, such as"),
    "all are missing": (lambda w: w.clear(), "lacks 28 tensors"),
    "other names": (
        lambda w: [w.update({name.replace("model.model", "m"): w.pop(name)}) for name in list(w)],
        "lacks 28 tensors",
    ),
    "another layer's": (
        lambda w: w.update({FIRST.replace("layers.0", "layers.7"): torch.ones(2, 48)}),
        "holds 1 tensors of another model",
    ),
    "one too many": (lambda w: w.update(zebra=torch.ones(2)), "of another model: zebra"),
    "another shape": (lambda w: w.update({FIRST: torch.ones(2, 47)}), "size mismatch"),
    "another rank": (lambda w: w.update({FIRST: torch.ones(3, 48)}), "size mismatch"),
    "not finite": (lambda w: w[FIRST].fill_(torch.nan), "not finite"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_an_adapter_that_does_not_fill_its_place_is_refused(adapter, name):
    damage, told = DAMAGES[name]
    weights = load_file(adapter / "adapter_model.safetensors")
    damage(weights)
    save_file(weights, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    assert told in refusal(adapter)


@pytest.mark.parametrize("cut", [0, 5, 400])
def test_a_cut_adapter_is_refused(adapter, cut):
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    assert "adapter_model.safetensors is damaged" in refusal(adapter)


def test_an_adapter_that_lacks_the_biases_it_trained_is_refused(tmp_path):
    loaded(made("Qwen2"), tmp_path / "base")
    write_adapter(tmp_path / "base", tmp_path / "adapter", bias="all")
    load_student(tmp_path / "adapter", device="cpu")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = {name: w for name, w in load_file(file).items() if not name.endswith("bias")}
    save_file(weights, file, metadata={"format": "pt"})
    assert "lacks 6 tensors" in refusal(tmp_path / "adapter")


@pytest.mark.parametrize(
    "kind",
    [
        peft.PrefixTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"),
        peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"),
        peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[], task_type="CAUSAL_LM"),
    ],
    ids=["prefix", "prompt", "ia3"],
)
def test_an_adapter_of_another_kind_is_refused(base, tmp_path, kind):
    """Virtual tokens stand outside the model that rollouts go through: they would be left out."""
    model = AutoModelForCausalLM.from_pretrained(base)
    peft.get_peft_model(model, kind).save_pretrained(tmp_path)
    assert "not LORA" in refusal(tmp_path)


@pytest.mark.parametrize("gone", ["/gone/away", "gone/away", "nobody/nothing", "./gone"])
@pytest.mark.parametrize("own_tokenizer", [True, False])
def test_a_missing_base_is_told_as_such(adapter, gone, own_tokenizer):
    if own_tokenizer:
        TOKENIZER.save_pretrained(adapter)
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = gone
    (adapter / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    sentence = refusal(adapter)
    assert "its base model" in sentence and gone in sentence
    assert str(adapter / "adapter_config.json") in sentence


def test_an_adapter_on_an_adapter_is_refused(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "second")
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(adapter)
    (tmp_path / "second" / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert "is an adapter itself" in refusal(tmp_path / "second")


@pytest.mark.parametrize(
    "change",
    [{"peft_type": "FOO"}, {"peft_type": None}, {"base_model_name_or_path": 3}],
    ids=["unknown kind", "no kind", "base by number"],
)
def test_a_configuration_that_names_no_lora_adapter_or_base_is_refused(adapter, change):
    file = adapter / "adapter_config.json"
    file.write_text(
        json.dumps(json.loads(file.read_text(encoding="utf-8")) | change), encoding="utf-8"
    )
    sentence = refusal(adapter)
    assert "not LORA" in sentence or "names no base model" in sentence


def test_a_damaged_base_is_not_told_as_the_adapters_fault(base, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    write_adapter(tmp_path / "base", tmp_path / "adapter")
    (tmp_path / "base" / "model.safetensors").unlink()
    sentence = refusal(tmp_path / "adapter")
    assert f"its base model {str(tmp_path / 'base')!r} can't be loaded" in sentence


def test_an_adapter_names_its_base_absolutely_and_is_found_from_elsewhere(
    base, tmp_path, monkeypatch
):
    shutil.copytree(base, tmp_path / "here" / "base")
    monkeypatch.chdir(tmp_path / "here")
    save_student(load_student("base", device="cpu", lora_rank=2), "adapter")
    saved = json.loads(Path("adapter/adapter_config.json").read_text(encoding="utf-8"))
    assert saved["base_model_name_or_path"] == str(tmp_path / "here" / "base")
    # One that peft saved with a relative name is made absolute when it is saved again.
    saved["base_model_name_or_path"] = "base"
    Path("adapter/adapter_config.json").write_text(json.dumps(saved), encoding="utf-8")
    save_student(load_student("adapter", device="cpu"), "again")
    monkeypatch.chdir(tmp_path)
    assert load_student("here/again", device="cpu").plain_head

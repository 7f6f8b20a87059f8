"""student.py: models and tokenizers, made, saved, loaded and refused."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from sgpo_mini import student as student_module
from sgpo_mini.mini_gsm.world import SPLITS, make_problems
from sgpo_mini.strategies import INSTRUCTION, autonomous_prompt, guided_prompt
from sgpo_mini.student import Student, compute_dtype, load_student, new_student, save_student
from sgpo_mini.support.checks import refuse_unknown_words

ENGLISH = "Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of it."
PROBLEMS = [make_problems(split)[place] for split in SPLITS for place in (0, 33)]
TEXTS = [text for p in PROBLEMS for text in (p.question, p.strategy, p.solution)]
VOCABULARY = [
    *TEXTS,
    *(prompt[0]["content"] for p in PROBLEMS for prompt in (autonomous_prompt(p.question),)),
    *(guided_prompt(p.question, p.strategy)[0]["content"] for p in PROBLEMS),
    " ".join(map(str, range(201))),
]
IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


def make_student(layers: int = 2, width: int = 64, seed: int = 0) -> Student:
    return new_student(VOCABULARY, layers, width, seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved student; tests that write to a folder make their own copy."""
    path = tmp_path_factory.mktemp("student")
    save_student(make_student(), path)
    return path


@pytest.fixture
def own_folder(tmp_path):
    save_student(make_student(layers=1, width=32), tmp_path / "student")
    return tmp_path / "student"


def logits_of(student: Student) -> torch.Tensor:
    with torch.no_grad():
        return student.model(input_ids=IDS).logits


# A fresh student


def test_a_new_student_is_the_same_for_a_seed_and_another_for_the_next():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = make_student(), make_student(), make_student(seed=1)
    assert torch.equal(logits_of(first), logits_of(again))
    assert not torch.equal(logits_of(first), logits_of(other))
    assert torch.equal(torch.get_rng_state(), state)  # and the caller's random numbers stay


def test_a_new_student_has_the_asked_size_and_float32_weights():
    student = make_student(layers=3, width=96)
    assert len(student.model.model.layers) == 3
    assert student.model.config.hidden_size == 96
    assert student.model.config.num_attention_heads == 3
    assert {p.dtype for p in student.model.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in student.model.parameters())
    assert student.plain_head and student.compute_dtype == torch.float32


@pytest.mark.parametrize("width", [0, 16, 100, -32])
def test_a_width_that_is_no_multiple_of_32_is_refused(width):
    with pytest.raises(ValueError, match="multiple of 32"):
        new_student(["a"], 1, width)


def test_encoding_and_decoding_gives_mini_gsm_back_to_the_letter():
    student = make_student()
    for text in TEXTS:
        ids = student.completion_ids(text)
        assert ids[-1] == student.stop_ids[0]
        assert student.decode(ids) == text


def test_a_word_with_its_blank_a_number_and_an_operator_are_one_token_each():
    text = "Anna has 12 pens and 112 cups. 12 + 3 = 15\n#### 15"
    tokenizer = new_student([text], 1, 32).tokenizer
    ids = tokenizer("Anna has 112 pens 12 + 3\n#### 15")["input_ids"]
    assert [tokenizer.decode(i) for i in ids] == [
        "Anna", " has", " ", "112", " pens", " ", "12", " + ", "3", "\n", "#### ", "15",
    ]  # fmt: skip


@pytest.mark.parametrize("texts", [["a b c"], ["the only text, of 3 words"]])
def test_a_readers_own_texts_make_a_tokenizer_too(texts):
    student = new_student(texts, 1, 32)
    assert student.decode(student.completion_ids(texts[0])) == texts[0]


def test_a_new_student_knows_the_words_of_the_prompts_whatever_the_texts():
    student = new_student(["go north", "Turn around."], 1, 32)
    told = student.decode(student.prompt_ids("go north", "Turn around."))
    (message,) = guided_prompt("go north", "Turn around.")
    assert message["content"] in told


# Prompts


def test_the_prompt_goes_through_the_chat_template():
    student = make_student()
    question = PROBLEMS[0].question
    text = student.tokenizer.decode(student.prompt_ids(question))
    assert text == f"<|user|>{question}\n\n{INSTRUCTION}<|end|><|assistant|>"


@pytest.mark.parametrize("template", [True, False])
def test_guided_and_autonomous_prompts_differ_in_the_strategy_alone(template):
    """Token by token: what stands before and after the strategy is the autonomous prompt."""
    student = make_student()
    if not template:
        student.tokenizer.chat_template = None
    for problem in PROBLEMS:
        guided = student.prompt_ids(problem.question, problem.strategy)
        autonomous = student.prompt_ids(problem.question)
        added = len(guided) - len(autonomous)
        without = [guided[:i] + guided[i + added :] for i in range(len(autonomous))]
        place = without.index(autonomous)
        inserted = student.tokenizer.decode(guided[place : place + added])
        assert inserted.strip() == f"Strategy:\n{problem.strategy}"


def test_without_a_chat_template_the_prompt_is_plain_text():
    student = make_student()
    student.tokenizer.chat_template = None
    question, strategy = PROBLEMS[0].question, PROBLEMS[0].strategy
    for given in ("", strategy):
        content = (guided_prompt(question, given) if given else autonomous_prompt(question))[0]
        expected = student.tokenizer(f"{content['content']}\n\nSolution:\n")["input_ids"]
        assert student.prompt_ids(question, given) == expected


# Saving and loading


def test_a_student_survives_saving_and_loading(folder):
    student, loaded = make_student(), load_student(folder, device="cpu")
    assert torch.equal(logits_of(loaded), logits_of(student))
    assert loaded.stop_ids == student.stop_ids == (1,)
    assert loaded.pad_id == student.pad_id == 0
    assert loaded.plain_head
    for problem in PROBLEMS:
        expected = student.prompt_ids(problem.question, problem.strategy)
        assert loaded.prompt_ids(problem.question, problem.strategy) == expected
    assert loaded.completion_ids(TEXTS[2]) == student.completion_ids(TEXTS[2])
    assert loaded.decode(student.completion_ids(TEXTS[2])) == TEXTS[2]
    assert all(p.requires_grad and p.dtype == torch.float32 for p in loaded.model.parameters())


def test_a_saved_student_loads_with_plain_transformers(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    student = make_student()
    assert torch.equal(model(input_ids=IDS).logits, logits_of(student))
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert ids == student.completion_ids(text)[:-1]
        assert tokenizer.decode(ids) == text
    assert tokenizer.chat_template == student.tokenizer.chat_template
    assert tokenizer.eos_token_id == student.stop_ids[0]
    assert not [path for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".py")]


@pytest.mark.parametrize("eos", [7, [7, 9]])
@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_every_stop_token_that_the_folder_names_is_kept(own_folder, file, eos):
    settings = json.loads((own_folder / file).read_text(encoding="utf-8"))
    (own_folder / file).write_text(json.dumps(settings | {"eos_token_id": eos}), encoding="utf-8")
    if file == "config.json":
        (own_folder / "generation_config.json").unlink()
    expected = {1, *(eos if isinstance(eos, list) else [eos])}
    loaded = load_student(own_folder, device="cpu")
    assert loaded.stop_ids[0] == 1 and set(loaded.stop_ids) == expected


def test_a_tokenizer_without_pad_is_padded_with_its_stop_token(own_folder):
    path = own_folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"pad_token": None}), encoding="utf-8")
    loaded = load_student(own_folder, device="cpu")
    assert loaded.pad_id == loaded.stop_ids[0] == 1


def test_an_end_token_must_be_named_where_no_chat_template_writes_one(own_folder):
    (own_folder / "chat_template.jinja").unlink()
    for file in ("tokenizer_config.json", "generation_config.json", "config.json"):
        settings = json.loads((own_folder / file).read_text(encoding="utf-8"))
        removed = {name: None for name in ("eos_token", "eos_token_id") if name in settings}
        (own_folder / file).write_text(json.dumps(settings | removed), encoding="utf-8")
    with pytest.raises(ValueError, match="end token"):
        load_student(own_folder, device="cpu")


# What can't be loaded


def refusal(name) -> str:
    with pytest.raises(ValueError) as caught:
        load_student(name, device="cpu")
    message = str(caught.value)
    assert "\n" not in message and str(name) in message
    return message


@pytest.mark.parametrize(
    "name", ["no-such-model", "nobody/nothing", "./not/here", "", "a b", "tiny\nstudent", "a/b/c"]
)
def test_a_name_that_leads_nowhere_is_refused_in_one_line(name):
    with pytest.raises(ValueError, match="no student can be loaded from") as caught:
        load_student(name, device="cpu")
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_a_file_are_refused(tmp_path):
    assert "config.json" in refusal(tmp_path)
    (tmp_path / "weights").touch()
    assert "folder" in refusal(tmp_path / "weights")


def test_a_missing_tiny_student_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(student_module, "TINY_STUDENT", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        load_student("tiny", device="cpu")


def test_pickled_weights_are_not_loaded(own_folder):
    weights = own_folder / "model.safetensors"
    torch.save(load_file(weights), own_folder / "pytorch_model.bin")
    load_student(own_folder, device="cpu")  # beside safetensors they do no harm
    weights.unlink()
    assert "safetensors" in refusal(own_folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"),
        lambda folder: (folder / "config.json").write_text(
            '{"model_type": "no_such_thing"}', encoding="utf-8"
        ),
        lambda folder: (folder / "tokenizer.json").write_text("{", encoding="utf-8"),
        lambda folder: (folder / "model.safetensors").write_bytes(b"1234567890"),
        lambda folder: (folder / "model.safetensors").unlink(),
    ],
    ids=["config", "architecture", "tokenizer", "weights", "no weights"],
)
def test_a_damaged_folder_is_refused_in_one_line(own_folder, damage):
    damage(own_folder)
    refusal(own_folder)


@pytest.mark.parametrize("change", ["missing", "wrong shape"])
def test_weights_that_do_not_fill_the_model_are_refused(own_folder, change):
    """Transformers would fill the gap with random numbers, and say so in a warning only."""
    weights = load_file(own_folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    if change == "missing":
        del weights[name]
    else:
        weights[name] = weights[name][:-1].clone()
    save_file(weights, own_folder / "model.safetensors", metadata={"format": "pt"})
    refusal(own_folder)


# Unknown words


def test_the_words_of_mini_gsm_are_known_and_english_is_not():
    student = make_student()
    refuse_unknown_words(student, TEXTS)
    with pytest.raises(ValueError, match="'Weng', 'earns'.*real model") as caught:
        refuse_unknown_words(student, [ENGLISH])
    assert "\n" not in str(caught.value)


def test_up_to_two_per_cent_of_the_words_may_be_unknown():
    student = new_student(["a 1"], 1, 32)
    refuse_unknown_words(student, ["a " * 98 + "zebra gnu"])
    with pytest.raises(ValueError, match="zebra"):
        refuse_unknown_words(student, ["a " * 97 + "zebra gnu ibex"])


@pytest.mark.parametrize("word", ["pensive", "pen", "Pens", "112", "1", "%"])
def test_a_word_that_only_shares_letters_with_a_known_one_is_unknown(word):
    with pytest.raises(ValueError, match="does not know 100%"):
        refuse_unknown_words(new_student(["two pens and 12"], 1, 32), [word])


@pytest.mark.parametrize("texts", [[], [""], [" \n"]])
def test_a_text_without_words_is_no_reason_to_refuse(texts):
    refuse_unknown_words(make_student(), texts)


# Precision


@pytest.mark.parametrize(
    "device, capability, expected",
    [
        ("cuda", (7, 5), torch.float16),  # a T4: bfloat16 is emulated there
        ("cuda", (7, 0), torch.float16),
        ("cuda", (8, 0), torch.bfloat16),
        ("cuda:1", (9, 0), torch.bfloat16),
        ("cpu", None, torch.float32),
    ],
)
def test_the_compute_dtype_is_what_the_hardware_computes_in(
    monkeypatch, device, capability, expected
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *given: True)
    assert compute_dtype(device) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_computes_in_the_compute_dtype(dtype):
    student = replace(make_student(), compute_dtype=dtype)
    with student.autocast():
        states, _ = student.hidden_states(input_ids=IDS)
        assert student.head(states).dtype == dtype
    assert next(student.model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_frozen_base_is_held_in_the_compute_dtype_and_the_rest_in_float32(folder, dtype):
    chosen = {"device": "cpu", "dtype": str(dtype).removeprefix("torch.")}
    full = load_student(folder, **chosen)
    assert {p.dtype for p in full.model.parameters()} == {torch.float32}
    assert full.compute_dtype == dtype
    lora = load_student(folder, lora_rank=2, **chosen)
    assert lora.plain_head
    for parameter in lora.model.parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else dtype)
    with lora.autocast():
        states, _ = lora.hidden_states(input_ids=IDS)
        lora.head(states).float().sum().backward()


def test_the_compute_dtype_of_the_device_is_the_default(folder, monkeypatch):
    monkeypatch.setattr(student_module, "compute_dtype", lambda device: torch.bfloat16)
    assert load_student(folder, device="cpu").compute_dtype == torch.bfloat16
    assert load_student(folder, device="cpu", dtype="float32").compute_dtype == torch.float32


def test_a_dtype_that_is_not_known_is_refused(folder):
    with pytest.raises(
        ValueError, match="dtype must be one of auto, float32, bfloat16, not 'int8'"
    ):
        load_student(folder, dtype="int8")


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_weights_cast_for_sampling_come_back_as_they_were(folder, lora_rank):
    student = load_student(folder, device="cpu", dtype="bfloat16", lora_rank=lora_rank)
    before = dict(student.model.named_parameters())
    embedding = student.causal_model.get_input_embeddings().weight
    with pytest.raises(KeyboardInterrupt), student.cast_once():
        linear = [m for m in student.model.modules() if type(m) is torch.nn.Linear]
        assert {m.weight.dtype for m in linear} == {torch.bfloat16}
        assert student.causal_model.get_input_embeddings().weight is embedding
        raise KeyboardInterrupt
    after = dict(student.model.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is parameter for name, parameter in before.items())


# LoRA


@pytest.fixture(scope="module")
def adapter_folder(folder, tmp_path_factory):
    """A student with adapters that are not the identity: (folder, its logits)."""
    student = load_student(folder, device="cpu", lora_rank=4)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    path = tmp_path_factory.mktemp("adapter")
    save_student(student, path)
    return path, logits_of(student)


def test_with_lora_only_the_adapters_are_trainable_and_they_start_as_nothing(folder):
    student = load_student(folder, device="cpu", lora_rank=4)
    for name, parameter in student.model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name)
    trainable = [n for n, p in student.model.named_parameters() if p.requires_grad]
    assert len(trainable) == 2 * 2 * 7  # A and B, two layers, seven linear maps each
    assert not any("lm_head" in name or "embed" in name for name in trainable)
    assert all(p.shape[0] == 4 for n, p in student.model.named_parameters() if "lora_A" in n)
    torch.testing.assert_close(logits_of(student), logits_of(make_student()))


def test_new_adapters_start_alike_whatever_was_drawn_before(folder):
    """Otherwise two runs with the same seed would differ from their first step."""
    students = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        students.append(load_student(folder, device="cpu", lora_rank=4))
        assert torch.equal(torch.get_rng_state(), state)
    first, second = (dict(student.model.named_parameters()) for student in students)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(first[name].any() for name in first if "lora_A" in name)


def test_adapters_are_saved_in_pefts_own_format(adapter_folder):
    path, _ = adapter_folder
    names = {file.name for file in path.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer_config.json"} <= names
    assert "model.safetensors" not in names and "config.json" not in names
    assert (
        json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))["peft_type"]
        == "LORA"
    )
    assert all(".lora_" in name for name in load_file(path / "adapter_model.safetensors"))


def test_an_adapter_folder_loads_with_the_same_logits_and_trains_on(adapter_folder):
    path, logits = adapter_folder
    student = load_student(path, device="cpu")
    assert torch.equal(logits_of(student), logits)
    assert not torch.allclose(logits, logits_of(make_student()), atol=1e-2)
    for name, parameter in student.model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name)
    assert student.plain_head and student.stop_ids == (1,)


def test_an_adapter_folder_loads_with_plain_peft(adapter_folder, folder):
    from peft import PeftModel

    path, logits = adapter_folder
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, path)
    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS).logits, logits)


def test_an_adapter_without_a_tokenizer_takes_its_base_models(adapter_folder, tmp_path):
    path, logits = adapter_folder
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((path / name).read_bytes())
    student = load_student(tmp_path, device="cpu")
    assert torch.equal(logits_of(student), logits)
    assert student.decode(student.completion_ids(TEXTS[2])) == TEXTS[2]


@pytest.mark.parametrize("problem", ["pickled weights", "no base", "base gone", "no JSON"])
def test_an_adapter_that_can_not_be_used_is_refused(adapter_folder, tmp_path, problem):
    path, _ = adapter_folder
    for file in path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
    if problem == "pickled weights":
        weights = load_file(tmp_path / "adapter_model.safetensors")
        torch.save(weights, tmp_path / "adapter_model.bin")
        (tmp_path / "adapter_model.safetensors").unlink()
    elif problem == "no JSON":
        (tmp_path / "adapter_config.json").write_text("{", encoding="utf-8")
    else:
        config["base_model_name_or_path"] = None if problem == "no base" else "/gone/away"
        (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    refusal(tmp_path)


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_gradient_checkpointing_gives_the_same_gradient(folder, lora_rank):
    gradients = []
    for checkpointing in (False, True):
        student = load_student(
            folder, device="cpu", lora_rank=lora_rank, gradient_checkpointing=checkpointing
        )
        assert student.gradient_checkpointing == checkpointing
        student.model.train(checkpointing)
        torch.manual_seed(0)
        with torch.no_grad():
            for name, parameter in student.model.named_parameters():
                if "lora_" in name:
                    parameter.normal_(std=0.1)
        states, _ = student.hidden_states(input_ids=IDS, use_cache=False)
        student.head(states).square().sum().backward()
        trainable = [p for p in student.model.parameters() if p.requires_grad]
        gradients.append([p.grad for p in trainable])
    assert all(gradient is not None for gradient in gradients[1])
    torch.testing.assert_close(*gradients)

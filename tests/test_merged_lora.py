"""merged_lora.py: adapters that become part of the weights while completions are sampled."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear

from sgpo_mini import load_student, sample, score
from sgpo_mini.student import Student
from sgpo_mini.support.merged_lora import merged_adapters

PROMPT = [5, 6, 7, 8]


def with_adapters(**changes) -> Student:
    """The shipped student with adapters that are not the identity."""
    student = load_student("tiny", device="cpu", lora_rank=4, **changes)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return student


def adapters_of(student: Student) -> list[str]:
    return [name for name, m in student.model.named_modules() if isinstance(m, Linear)]


def logits_of(student: Student) -> torch.Tensor:
    with torch.no_grad(), student.autocast():
        states, _ = student.hidden_states(input_ids=torch.tensor([PROMPT]))
        return student.head(states)


def test_the_merged_student_is_the_same_policy_and_has_no_adapters():
    student = with_adapters()
    before = logits_of(student)
    with student.model.disable_adapter():
        assert (logits_of(student) - before).abs().max() > 0.1  # the adapters say something
    with merged_adapters(student.model):
        assert not adapters_of(student)
        torch.testing.assert_close(logits_of(student), before, rtol=0, atol=1e-4)
    assert logits_of(student).equal(before)


def test_sampling_merges_and_draws_the_same_tokens(monkeypatch):
    student, merged = with_adapters(), []
    states = Student.hidden_states

    def watched(self, **inputs):
        merged.append(not adapters_of(self))
        return states(self, **inputs)

    monkeypatch.setattr(Student, "hidden_states", watched)
    how = {"max_new_tokens": 12, "temperature": 0.0}
    drawn = sample(student, [PROMPT] * 2, 2, **how)
    assert merged and all(merged)
    monkeypatch.setattr("sgpo_mini.rollout.merged_adapters", lambda model: torch.no_grad())
    merged.clear()
    assert sample(student, [PROMPT] * 2, 2, **how).tokens.equal(drawn.tokens)
    assert merged and not any(merged)


def test_every_layer_and_parameter_comes_back_even_after_an_interruption():
    student = with_adapters()
    modules, weights = dict(student.model.named_modules()), dict(student.model.named_parameters())
    trained = {name for name, p in weights.items() if p.requires_grad}
    with pytest.raises(KeyboardInterrupt), merged_adapters(student.model):
        raise KeyboardInterrupt
    after = dict(student.model.named_parameters())
    assert dict(student.model.named_modules()) == modules
    assert {name for name, p in after.items() if p.requires_grad} == trained != set()
    assert all(after[name] is p for name, p in weights.items())


def test_after_sampling_adapters_learn_as_before():
    gradients = []
    for sampled in (False, True):
        student = with_adapters()
        drawn = sample(student, [PROMPT], 2, max_new_tokens=6, temperature=0.0)
        if sampled:
            sample(student, [PROMPT], 2, max_new_tokens=6)
        score(student, [PROMPT], drawn).sum().backward()
        learnt = {n: p.grad for n, p in student.model.named_parameters() if p.grad is not None}
        gradients.append(learnt)
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 10
    assert all(gradients[1][name].equal(g) for name, g in gradients[0].items())


def test_a_base_in_half_precision_keeps_its_adapters():
    student = with_adapters(dtype="bfloat16")
    names = adapters_of(student)
    with merged_adapters(student.model):
        assert adapters_of(student) == names != []


@pytest.mark.parametrize("kind", [{"use_dora": True}, {"lora_bias": True, "bias": "none"}])
def test_an_adapter_of_another_kind_stays(kind):
    student = load_student("tiny", device="cpu")
    for parameter in student.model.parameters():  # lora_bias needs biases to add to
        parameter.requires_grad_(False)
    targets = ["q_proj"]  # with a bias in Qwen2
    student.model = get_peft_model(student.model, LoraConfig(r=2, target_modules=targets, **kind))
    names = adapters_of(student)
    with merged_adapters(student.model):
        assert adapters_of(student) == names != []


def test_a_student_without_adapters_is_left_alone():
    student = load_student("tiny", device="cpu")
    modules = dict(student.model.named_modules())
    with merged_adapters(student.model):
        assert dict(student.model.named_modules()) == modules

"""rollout.py: samples are the policy's, and every token is scored as a plain forward pass would."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import transformers
from plain_decoding import generate
from torch import Tensor

from sgpo_mini import decoding, rollout
from sgpo_mini.decoding import draw, tempered
from sgpo_mini.losses import token_entropy
from sgpo_mini.problems import Problem
from sgpo_mini.rollout import Rollouts, completion_states, rewards_of, sample, score, strategy_kl
from sgpo_mini.student import Student, load_student, new_student, save_student
from sgpo_mini.support import memory
from sgpo_mini.support.memory import (
    chunk_size,
    completions_at_once,
    micro_batches,
    rows_sampled_at_once,
)

torch.set_num_threads(1)

# Token ids. 5, 6, ... are words; prompts of different lengths, one of them a single token.
PROMPTS = [[5, 6, 7], [8], [6, 9, 5, 7, 8, 10, 6]]
GUIDED = [[5, 11, 9, 6, 7], [8, 10, 10], [6, 9, 5, 7, 8, 10, 6, 11]]
SEVERAL_STOPS = (1, 6, 9)

# What a model's folder may ask for. None of it may reach our samples.
HOSTILE = {
    "do_sample": False,
    "temperature": 0.1,
    "top_k": 1,
    "top_p": 0.3,
    "min_p": 0.5,
    "typical_p": 0.5,
    "epsilon_cutoff": 0.1,
    "eta_cutoff": 0.1,
    "repetition_penalty": 1.3,
    "no_repeat_ngram_size": 1,
    "min_new_tokens": 2,
    "suppress_tokens": [7, 8],
    "begin_suppress_tokens": [9],
    "bad_words_ids": [[10]],
    "exponential_decay_length_penalty": [0, 2.0],
    "sequence_bias": [[[5], 10.0]],
    "forced_eos_token_id": 1,
    "num_beams": 3,
    "max_length": 4,
    "eos_token_id": list(SEVERAL_STOPS),
}


def make_student(layers: int = 2) -> Student:
    """A student of about a dozen tokens; its random weights are scaled up, so that it has views."""
    student = new_student(["a b c d e f g h"], layers=layers, width=32, seed=1)
    scale_up(student.model)
    return student


def scale_up(model) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(8.0)


# Small models of other architectures: what they do to logits and caches differs.
OTHERS = {
    "llama": ("Llama", {}, True),
    "cohere": ("Cohere", {"logit_scale": 0.5}, False),
    "granite": ("Granite", {"logits_scaling": 3.0}, False),
    # Gemma 2 caps its logits, and every other layer sees the last few tokens only.
    "gemma2": ("Gemma2", {"head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 16}, False),
}


@pytest.fixture(scope="module")
def other_folders(tmp_path_factory):
    tokenizer = make_student().tokenizer
    folders = {}
    for name, (prefix, settings, _) in OTHERS.items():
        config = getattr(transformers, f"{prefix}Config")(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            eos_token_id=1,
            bos_token_id=None,
            pad_token_id=0,
            **settings,
        )
        torch.manual_seed(0)
        model = getattr(transformers, f"{prefix}ForCausalLM")(config)
        if name != "gemma2":  # its logits stay small, where a cap can hardly be seen
            scale_up(model)
        folders[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="module", params=["qwen2", *OTHERS])
def student(request, other_folders) -> Student:
    if request.param == "qwen2":
        return make_student()
    return load_student(other_folders[request.param], device="cpu")


def rollouts_of(completions: list[list[int]], rows: list[int]) -> Rollouts:
    """Rollouts written by hand; the padding holds the token 5, a word like any other."""
    width = max(map(len, completions))
    tokens = torch.tensor([c + [5] * (width - len(c)) for c in completions])
    mask = torch.tensor([[1.0] * len(c) + [0.0] * (width - len(c)) for c in completions])
    cut = torch.tensor([c[-1] != 1 for c in completions])
    return Rollouts(torch.tensor(rows), tokens, mask, cut, [str(c) for c in completions])


def five_rollouts() -> Rollouts:
    """Completions of 1 to 5 tokens; the prompts are not used equally often, nor in order."""
    return rollouts_of([[7, 1], [9, 9, 5, 8, 1], [1], [6, 10, 11], [8, 5, 7, 1]], [2, 0, 1, 2, 0])


def logits_by_hand(student: Student, prompt: list[int], completion: list[int]) -> Tensor:
    """(T, V): one sequence, alone and without padding, through the model's own forward."""
    ids = torch.tensor([prompt + completion])
    return student.causal_model(input_ids=ids).logits[0, len(prompt) - 1 : -1]


def completions_of(rollouts: Rollouts) -> list[list[int]]:
    lengths = rollouts.mask.sum(dim=1).int().tolist()
    return [row[:n] for row, n in zip(rollouts.tokens.tolist(), lengths, strict=True)]


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


# Sampling


def assert_frequencies(student: Student, prompt, temperature=1.0, top_p=1.0, count=6000) -> None:
    """The frequencies of all two-token completions against the model's own probabilities."""
    torch.manual_seed(0)
    drawn = sample(student, [prompt], count, max_new_tokens=2, temperature=temperature, top_p=top_p)
    observed: dict[tuple[int, ...], int] = {}
    for completion in completions_of(drawn):
        observed[tuple(completion)] = observed.get(tuple(completion), 0) + 1
    expected = {}
    with torch.no_grad():
        for first, p in enumerate(nucleus(student, prompt, temperature, top_p)):
            if first in student.stop_ids:
                expected[(first,)] = p * count
            elif p:
                second = nucleus(student, [*prompt, first], temperature, top_p)
                expected |= {(first, token): p * q * count for token, q in enumerate(second) if q}
    assert observed.keys() <= expected.keys()
    common = [key for key, number in expected.items() if number >= 5]
    rare = [key for key in expected if key not in common]
    cells = [(observed.get(key, 0), expected[key]) for key in common]
    cells.append((sum(observed.get(k, 0) for k in rare), sum(expected[k] for k in rare)))
    assert len(common) > 5, "the test would see nothing"
    chi_square = sum((seen - mean) ** 2 / mean for seen, mean in cells if mean)
    freedom = len(cells) - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


def nucleus(student: Student, prompt: list[int], temperature: float, top_p: float) -> list[float]:
    """Next-token probabilities, cut to the likeliest tokens that together reach `top_p`."""
    p = (logits_by_hand(student, prompt, [0])[0] / temperature).double().softmax(-1)
    ordered, tokens = p.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    p[tokens[before >= top_p]] = 0.0 if top_p < 1 else p[tokens[before >= top_p]]
    return (p / p.sum()).tolist()


@pytest.mark.parametrize("temperature, top_p", [(1.0, 1.0), (0.7, 1.0), (1.5, 1.0), (1.0, 0.8)])
def test_sampled_frequencies_are_the_policys_probabilities(temperature, top_p):
    assert_frequencies(make_student(), PROMPTS[0], temperature, top_p)


def test_no_default_cuts_the_tail_of_the_distribution():
    """`generate` fills a missing top_k with 50, which a dozen tokens would not show."""
    student = new_student([" ".join(f"w{'x' * n}" for n in range(200))], layers=1, width=32)
    torch.manual_seed(0)
    drawn = sample(student, PROMPTS[:1], 600, max_new_tokens=1)
    assert len(drawn.tokens.unique()) > 150  # fresh weights: all but uniform over 200 tokens


def test_a_hostile_generation_config_reaches_no_sample(tmp_path):
    folder = tmp_path / "hostile"
    save_student(make_student(), folder)
    (folder / "generation_config.json").write_text(json.dumps(HOSTILE), encoding="utf-8")
    hostile = load_student(folder, device="cpu")
    assert set(hostile.stop_ids) == set(SEVERAL_STOPS)  # the stop tokens are all that is kept
    assert_frequencies(hostile, PROMPTS[0])


def test_groups_stand_side_by_side_and_each_answers_its_own_prompt(student):
    torch.manual_seed(0)
    drawn = sample(student, PROMPTS, 40, max_new_tokens=3)
    assert drawn.rows.tolist() == [row for row in range(3) for _ in range(40)]
    assert len(drawn.texts) == len(drawn.tokens) == len(drawn.mask) == len(drawn.truncated) == 120
    logps = score(student, PROMPTS, drawn)
    swapped = score(student, [PROMPTS[1], PROMPTS[2], PROMPTS[0]], drawn)
    if student.causal_model.config.model_type != "gemma2":  # all but uniform
        assert logps.sum() > swapped.sum()  # likelier after their own prompt than after others


def test_greedy_tokens_equal_plain_generate_on_each_prompt_alone(student):
    drawn = sample(student, PROMPTS, 2, max_new_tokens=8, temperature=0.0)
    for row, completion in zip(drawn.rows.tolist(), completions_of(drawn), strict=True):
        prompt = torch.tensor([PROMPTS[row]])
        alone = student.causal_model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=8
        )
        assert completion == alone[0, prompt.shape[1] :].tolist()


@pytest.mark.parametrize(
    "temperature, top_p", [(0.0, 1.0), (1.0, 1.0), (0.7, 1.0), (1.3, 0.8)], ids=str
)
def test_the_tokens_are_those_of_generate(student, temperature, top_p):
    settings = {"max_new_tokens": 12, "temperature": temperature, "top_p": top_p}
    student = replace(student, stop_ids=SEVERAL_STOPS)
    torch.manual_seed(5)
    expected = generate(student, PROMPTS, 8, **settings)
    torch.manual_seed(5)
    drawn = sample(student, PROMPTS, 8, **settings)
    assert completions_of(drawn) == expected
    lengths = {len(completion) for completion in expected}
    assert temperature == 0 or len(lengths) > 4, "rows must end at different times"


def test_a_completion_does_not_depend_on_those_beside_it():
    student = make_student()
    torch.manual_seed(1)
    together = completions_of(sample(student, PROMPTS, [3, 2, 2], max_new_tokens=10))
    torch.manual_seed(1)
    alone = completions_of(sample(student, PROMPTS[:1], 3, max_new_tokens=10))
    assert together[:3] == alone


def test_completions_that_have_ended_are_no_longer_computed():
    student = replace(make_student(), stop_ids=SEVERAL_STOPS)
    rows = []
    hook = student.head.register_forward_hook(lambda m, i, output: rows.append(len(output)))
    torch.manual_seed(0)
    drawn = sample(student, PROMPTS, 40, max_new_tokens=100)
    hook.remove()
    unended = [int((drawn.mask.sum(dim=1) > step).sum()) for step in range(len(rows))]
    assert rows[0] == 120 and rows == sorted(rows, reverse=True) and rows[-1] < 20
    assert all(n <= computed <= n / (1 - 1 / 8) for n, computed in zip(unended, rows, strict=True))


def sampled_with_blocks(student: Student, block: int, monkeypatch, **settings) -> Rollouts:
    monkeypatch.setattr(decoding, "_BLOCK", block)
    torch.manual_seed(5)
    return sample(student, PROMPTS, 8, **settings)


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_the_size_of_a_block_of_the_cache_changes_not_one_bit(student, block, monkeypatch):
    settings = {"max_new_tokens": 24, "temperature": 1.3}
    student = replace(student, stop_ids=SEVERAL_STOPS)
    expected = sampled_with_blocks(student, 1000, monkeypatch, **settings)
    drawn = sampled_with_blocks(student, block, monkeypatch, **settings)
    assert drawn.tokens.equal(expected.tokens) and drawn.entropies.equal(expected.entropies)
    assert drawn.tokens.shape[1] > 12 > drawn.mask.sum(dim=1).min(), "blocks and rows must end"


def cached_places(student: Student, group_size: int, max_new_tokens: int) -> list[int]:
    """Tokens that the cache has room for, in all rows together, at every token sampled."""
    held = []

    def note(module, inputs, output):
        layers = output.past_key_values.layers
        states = [states for layer in layers for states in (layer.keys, layer.values)]
        held.append(sum(tensor.untyped_storage().nbytes() for tensor in states))

    hook = student.causal_model.base_model.register_forward_hook(note)
    torch.manual_seed(0)
    sample(student, PROMPTS, group_size, max_new_tokens=max_new_tokens)
    hook.remove()
    a_token = 2 * 2 * 32 * 4  # bytes: keys and values in two layers, 32 float32 each
    return [number // a_token for number in held[1:]]  # the first call computes the prompts


def test_the_cache_grows_with_the_completions_and_not_with_their_limit():
    student = replace(make_student(), stop_ids=SEVERAL_STOPS)
    held = cached_places(student, 40, max_new_tokens=100_000)
    assert max(held) == held[0] == 120 * (6 + 64)
    assert held[-1] < held[0] / 5, "completions that have ended give their memory back"
    assert cached_places(student, 40, max_new_tokens=5)[0] == 120 * (6 + 5)


def test_a_long_completion_makes_the_cache_grow_to_the_limit_and_no_further():
    student = replace(make_student(), stop_ids=())
    lengths = [held / 3 for held in cached_places(student, 1, max_new_tokens=300)]
    assert lengths[0] == 6 + 64 and lengths[-1] == 6 + 300 and len(set(lengths)) < 8
    assert all(6 + n <= length <= 6 + n + 76 for n, length in enumerate(lengths, start=1))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_entropies_are_those_of_the_distributions_drawn_from(student, temperature):
    torch.manual_seed(0)
    drawn = sample(student, PROMPTS, 3, max_new_tokens=6, temperature=temperature)
    with torch.no_grad():
        for i, completion in enumerate(completions_of(drawn)):
            logits = logits_by_hand(student, PROMPTS[drawn.rows[i]], completion)
            close(drawn.entropies[i, : len(completion)], token_entropy(logits / temperature))


def test_a_token_is_drawn_where_its_share_of_the_unit_interval_lies():
    logits = torch.tensor([0.25, 0.0, 0.5, 0.25]).log()  # the second is banned
    uniform = torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 2**-24])
    assert draw(logits.expand(6, 4), uniform).tolist() == [0, 0, 2, 2, 3, 3]


def test_no_token_of_probability_zero_is_drawn_at_the_ends_of_the_interval():
    torch.manual_seed(0)
    logits = torch.randn(2000, 50)
    logits[:, [0, 49]] = -torch.inf
    for u in (0.0, 1 - 2**-24):
        tokens = draw(logits, torch.full((2000,), u))
        assert set(tokens.tolist()) <= set(range(1, 49))


def test_top_p_draws_from_the_likeliest_tokens_alone():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    uniform = torch.linspace(0, 0.999, 1000)
    counts = draw(logits.expand(1000, 4), uniform, top_p=0.8).bincount(minlength=4)
    assert counts.tolist()[2:] == [0, 0] and abs(counts[0] / 1000 - 0.5 / 0.8) < 0.002


def test_sampling_takes_its_random_numbers_from_torchs_global_generator():
    student = make_student()
    torch.manual_seed(3)
    first = sample(student, PROMPTS, 4, max_new_tokens=6)
    second = sample(student, PROMPTS, 4, max_new_tokens=6)
    torch.manual_seed(3)
    again = sample(student, PROMPTS, 4, max_new_tokens=6)
    assert completions_of(first) == completions_of(again) != completions_of(second)


@pytest.mark.parametrize("pad", ["its own", "a stop token", "another word"])
@pytest.mark.parametrize("stops", [(1,), SEVERAL_STOPS])
def test_a_completion_ends_with_its_first_stop_token_whatever_pad_is(stops, pad):
    pad_id = {"its own": 0, "a stop token": stops[-1], "another word": 7}[pad]
    student = replace(make_student(), stop_ids=stops, pad_id=pad_id)
    torch.manual_seed(0)
    drawn = sample(student, PROMPTS, 60, max_new_tokens=6)
    lengths = {True: set(), False: set()}
    for i, completion in enumerate(completions_of(drawn)):
        ended = completion[-1] in stops
        assert bool(drawn.truncated[i]) == (not ended)
        assert not set(completion[:-1]) & set(stops)
        assert ended or len(completion) == 6
        assert drawn.mask[i].tolist() == sorted(drawn.mask[i].tolist(), reverse=True)
        written = completion[:-1] if ended else completion
        assert drawn.texts[i] == student.decode(written)
        lengths[ended].add(len(completion))
    assert 1 in lengths[True] and len(lengths[True]) > 2 and lengths[False] == {6}


def test_sampling_ends_when_every_completion_has_ended_with_any_of_the_stop_tokens():
    student = replace(make_student(), stop_ids=SEVERAL_STOPS)
    torch.manual_seed(0)
    drawn = sample(student, PROMPTS, 8, max_new_tokens=400)
    assert not drawn.truncated.any()
    assert drawn.tokens.shape[1] == drawn.mask.sum(dim=1).max() < 400


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_sampling_leaves_training_mode_and_gradients_alone(temperature):
    student = make_student()
    student.model.train()
    drawn = sample(student, PROMPTS, 2, max_new_tokens=3, temperature=temperature)
    assert student.model.training
    assert not drawn.mask.requires_grad
    assert all(parameter.grad is None for parameter in student.model.parameters())


# Rewards and selection


def test_a_completion_that_was_cut_off_earns_nothing_and_the_others_what_reward_says():
    rollouts = five_rollouts().select([1, 3, 2, 0])
    rollouts.rows = torch.tensor([0, 0, 1, 1])
    problems = [Problem("a", "?", "1"), Problem("b", "?", "2")]
    asked = []

    def reward(text, problem):
        asked.append((text, problem.id))
        return 0.25 if problem.id == "a" else 1

    assert rewards_of(rollouts, problems, reward).tolist() == [[0.25, 0.0], [1.0, 1.0]]
    assert [name for _, name in asked] == ["a", "b", "b"]


@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_select_trims_the_padding_and_keeps_every_score(kind):
    student, whole = make_student(), five_rollouts()
    indices = [3, 0, 2]
    chosen = whole.select(kind(indices))
    assert chosen.tokens.shape == chosen.mask.shape == (3, 3)
    assert chosen.rows.tolist() == [2, 2, 1]
    assert chosen.truncated.tolist() == [True, False, False]
    assert chosen.texts == [whole.texts[i] for i in indices]
    assert completions_of(chosen) == [completions_of(whole)[i] for i in indices]
    with torch.no_grad():
        close(score(student, PROMPTS, chosen), score(student, PROMPTS, whole)[indices, :3])


def test_select_of_nothing_is_empty():
    assert five_rollouts().select([]).tokens.shape == (0, 0)


# Scoring


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_score_equals_a_plain_forward_pass_of_each_sequence_alone(student, temperature):
    rollouts = five_rollouts()
    with torch.no_grad():
        logps = score(student, PROMPTS, rollouts, temperature=temperature)
        for i, completion in enumerate(completions_of(rollouts)):
            logits = logits_by_hand(student, PROMPTS[rollouts.rows[i]], completion) / temperature
            log_p = logits.log_softmax(-1)
            n = len(completion)
            close(logps[i, :n], log_p.gather(-1, torch.tensor([completion]).T).squeeze(-1))
            assert not logps[i, n:].any()


def test_what_stands_in_the_padding_changes_nothing(student):
    rollouts = five_rollouts()
    other = replace(
        rollouts, tokens=torch.where(rollouts.mask.bool(), rollouts.tokens, student.stop_ids[0])
    )
    padded_otherwise = replace(student, pad_id=9)  # the prompts' padding on the left
    with torch.no_grad():
        expected = score(student, PROMPTS, rollouts)
        close(score(student, PROMPTS, other), expected, 1e-6)
        close(score(padded_otherwise, PROMPTS, rollouts), expected, 1e-6)


def test_a_sequence_scores_the_same_whatever_else_is_in_the_batch(student):
    rollouts = five_rollouts()
    with torch.no_grad():
        together = score(student, PROMPTS, rollouts)
        for i, completion in enumerate(completions_of(rollouts)):
            alone = score(student, PROMPTS, rollouts.select([i]))
            close(alone[0], together[i, : len(completion)])


def test_rollouts_of_one_token_are_scored(student):
    rollouts = rollouts_of([[1], [7]], [1, 0])
    with torch.no_grad():
        logps = score(student, PROMPTS, rollouts)
        expected = [
            logits_by_hand(student, PROMPTS[row], [token])[0].log_softmax(-1)[token]
            for row, token in ((1, 1), (0, 7))
        ]
    close(logps, torch.stack(expected).unsqueeze(1))


def test_half_precision_scores_are_float32_and_close():
    student, rollouts = make_student(), five_rollouts()
    half = replace(student, compute_dtype=torch.bfloat16)
    inside = rollouts.mask.bool()
    with torch.no_grad():
        logps = score(half, PROMPTS, rollouts, temperature=0.7)
        exact = score(student, PROMPTS, rollouts, temperature=0.7)
        with half.autocast():
            logits = half.head(completion_states(half, PROMPTS, rollouts))
    assert logps.dtype == torch.float32
    close(logps, exact, 0.3)
    # The temperature divides in float32, as it does in sampling.
    log_p = (logits.float() / 0.7).log_softmax(-1)
    close(logps[inside], log_p.gather(-1, rollouts.tokens[inside].unsqueeze(-1)).squeeze(-1), 1e-6)


def gradients_of(student: Student, total: Callable[[], Tensor]) -> dict[str, Tensor | None]:
    student.model.zero_grad()
    total().backward()
    return {name: p.grad for name, p in student.model.named_parameters() if p.requires_grad}


def with_adapters(folder) -> Student:
    save_student(make_student(), folder)
    student = load_student(folder, device="cpu", lora_rank=4)
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if "lora_B" in name:  # it starts at 0, where its partner gets no gradient
                parameter.fill_(0.05)
    return student


@pytest.mark.parametrize("kind", ["whole", "checkpointing", "lora"])
@pytest.mark.parametrize("what", ["forward KL", "reverse KL", "sample, score", "score, score"])
def test_in_half_precision_every_weight_gets_its_gradient(what, kind, tmp_path):
    """torch 2.6 gives the weights that a pass without gradient has cast to the passes after it,
    as long as any autocast context is open: with those, no projection gets a gradient."""
    student = with_adapters(tmp_path) if kind == "lora" else make_student()
    student = checkpointing(student) if kind == "checkpointing" else student
    half, rollouts = replace(student, compute_dtype=torch.bfloat16), five_rollouts()

    def total(student: Student) -> Tensor:
        if what.endswith("KL"):
            reverse = what == "reverse KL"
            return strategy_kl(student, GUIDED, PROMPTS, rollouts, reverse=reverse).sum()
        if what == "sample, score":
            sample(student, PROMPTS, 2, max_new_tokens=4)
        else:
            with torch.no_grad():
                score(student, PROMPTS, rollouts)
        return score(student, PROMPTS, rollouts).sum()

    exact = gradients_of(student, lambda: total(student))
    for around in (False, True):  # a caller's own context, such as a trainer's
        with torch.autocast("cpu", torch.bfloat16, enabled=around):
            gradients = gradients_of(student, lambda: total(half))
        for name, gradient in gradients.items():
            assert gradient is not None, name
            alike = torch.cosine_similarity(gradient.flatten(), exact[name].flatten(), dim=0)
            assert alike > 0.9, name


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_that_does_more_to_its_logits_is_found_on_load(other_folders, name):
    assert load_student(other_folders[name], device="cpu").plain_head == OTHERS[name][2]


def repeated_rollouts() -> Rollouts:
    """As a group writes them: two completions twice, one of them also after another prompt."""
    completions = [[7, 1], [9, 9, 5], [7, 1], [9, 9, 5], [7, 1, 5], [7, 1]]
    return rollouts_of(completions, [2, 0, 2, 0, 2, 1])


def test_equal_completions_of_a_prompt_are_computed_once(monkeypatch):
    rollouts = repeated_rollouts()
    distinct, places = rollouts.distinct()
    assert len(distinct.rows) == 4 and places.tolist().count(places[0]) == 2
    for i, place in enumerate(places.tolist()):
        assert distinct.rows[place] == rollouts.rows[i]
        assert completions_of(distinct)[place] == completions_of(rollouts)[i]
    student = make_student()
    value, gradients = value_and_gradients(student, "score", rollouts)
    every = torch.arange(len(rollouts.rows))
    monkeypatch.setattr(Rollouts, "distinct", lambda self: (self, every))
    other_value, other_gradients = value_and_gradients(student, "score", rollouts)
    close(value, other_value)
    for name, gradient in gradients.items():
        close(gradient, other_gradients[name])


# Two ways to the same states


def checkpointing(student: Student) -> Student:
    """The same model under gradient checkpointing, where every sequence is computed whole."""
    student.model.gradient_checkpointing_enable({"use_reentrant": False})
    student.model.train()
    return replace(student, gradient_checkpointing=True)


def objective(student: Student, what: str, rollouts: Rollouts, told: bool = True) -> Tensor:
    """A weighted sum; `told`: the head's gradient is computed in the forward pass."""

    def weighted(values: Tensor) -> Tensor:
        return (values * torch.linspace(-1.0, 2.0, values.numel()).view(values.shape)).sum()

    loss = weighted if told else None
    if what == "score":
        return weighted(score(student, PROMPTS, rollouts, loss=loss))
    return weighted(strategy_kl(student, GUIDED, PROMPTS, rollouts, loss=loss))


def value_and_gradients(student: Student, what: str, rollouts: Rollouts, told: bool = True):
    student.model.zero_grad()
    value = objective(student, what, rollouts, told)
    value.backward()
    return value.detach(), {n: p.grad.clone() for n, p in student.model.named_parameters()}


@pytest.mark.parametrize("what", ["score", "strategy_kl"])
def test_shared_prompts_and_gradient_checkpointing_agree(what, monkeypatch):
    rollouts = five_rollouts()
    value, gradients = value_and_gradients(make_student(), what, rollouts)
    calls, states_whole = [], rollout._states_whole
    monkeypatch.setattr(
        rollout, "_states_whole", lambda *given: calls.append(1) or states_whole(*given)
    )
    other_value, other_gradients = value_and_gradients(
        checkpointing(make_student()), what, rollouts
    )
    assert calls == [1]  # the guided half of the KL needs no gradient and keeps its cache
    close(other_value, value)
    for name, gradient in gradients.items():
        close(other_gradients[name], gradient)
        assert gradient.abs().max() > 1e-3, f"{name}: the test would see nothing"


def test_the_gradient_is_that_of_plain_forward_passes(student):
    student = deepcopy(student)
    if student.plain_head:  # in float64: processors differ by 2e-5; Gemma 2 can't (padding is NaN)
        student.model.double()
    rollouts = five_rollouts()
    value, gradients = value_and_gradients(student, "score", rollouts)
    weights = torch.linspace(-1.0, 2.0, rollouts.tokens.numel()).view(rollouts.tokens.shape)
    student.model.zero_grad()
    expected = 0.0
    for i, completion in enumerate(completions_of(rollouts)):
        log_p = logits_by_hand(student, PROMPTS[rollouts.rows[i]], completion).log_softmax(-1)
        logps = log_p.gather(-1, torch.tensor([completion]).T).squeeze(-1)
        expected = expected + (logps * weights[i, : len(completion)]).sum()
    expected.backward()
    close(value, expected.detach())
    for name, parameter in student.model.named_parameters():
        close(gradients[name], parameter.grad)


def test_under_gradient_checkpointing_samples_and_scores_still_use_the_prompt():
    """In training mode a checkpointed layer silently drops its cache, and the prompt with it."""
    plain, student = make_student(), checkpointing(make_student())
    expected = sample(plain, GUIDED, 2, max_new_tokens=6, temperature=0.0)
    drawn = sample(student, GUIDED, 2, max_new_tokens=6, temperature=0.0)
    assert completions_of(drawn) == completions_of(expected)
    with torch.no_grad():
        close(score(student, PROMPTS, drawn), score(plain, PROMPTS, drawn))
    assert student.model.training


@pytest.mark.parametrize("numbers", [1, 40, 2**26])
@pytest.mark.parametrize("what", ["score", "strategy_kl"])
@pytest.mark.parametrize("told", [True, False])
def test_the_size_of_a_chunk_changes_neither_value_nor_gradient(monkeypatch, what, numbers, told):
    student, rollouts = make_student(), repeated_rollouts() if told else five_rollouts()
    whole_value, whole_gradients = value_and_gradients(student, what, rollouts, told=False)
    monkeypatch.setattr(memory, "_CHUNK_NUMBERS", numbers)
    value, gradients = value_and_gradients(student, what, rollouts, told)
    close(value, whole_value)
    for name, gradient in whole_gradients.items():
        close(gradients[name], gradient)


def test_no_chunk_of_logits_is_larger_than_the_limit(monkeypatch):
    student, rollouts = make_student(), five_rollouts()
    vocabulary = student.model.config.vocab_size
    monkeypatch.setattr(memory, "_CHUNK_NUMBERS", 2 * vocabulary)
    sizes = []
    student.head.register_forward_hook(lambda m, i, output: sizes.append(output.numel()))
    objective(student, "score", rollouts).backward()
    objective(student, "strategy_kl", rollouts).backward()
    assert max(sizes) == 2 * vocabulary


def test_a_chunk_is_smaller_on_a_cpu(monkeypatch):
    student = make_student()
    vocabulary = student.model.config.vocab_size
    assert chunk_size(student) == (2**23 - 2**19) // vocabulary
    assert chunk_size(replace(student, plain_head=False)) == 2**24 // vocabulary
    monkeypatch.setattr(Student, "device", torch.device("cuda"))
    assert chunk_size(student) == rows_sampled_at_once(student) == 2**26 // vocabulary


def test_as_many_completions_are_evaluated_at_once_as_their_keys_and_values_allow(monkeypatch):
    student = make_student()
    a_token = 2 * 2 * 32 * 4  # bytes: keys and values in two layers, 32 float32 each
    assert completions_at_once(student, 100) == 128, "more rows are no faster on a CPU"
    assert completions_at_once(student, 2**29 // a_token // 7) == 7
    assert completions_at_once(student, 2**40) == 1
    monkeypatch.setattr(Student, "device", torch.device("cuda"))
    properties = type("Properties", (), {"total_memory": 2**32})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert completions_at_once(student, 100) == 2**30 // (100 * a_token)
    half = replace(student, compute_dtype=torch.bfloat16)
    assert completions_at_once(half, 100) == 2**31 // (100 * a_token)


def test_every_token_is_told_to_whoever_watches():
    seen = []
    drawn = sample(make_student(), PROMPTS, 4, max_new_tokens=9, watch=seen.append)
    assert seen == list(range(1, drawn.tokens.shape[1] + 1))


def test_sampling_in_parts_draws_the_same_tokens(monkeypatch):
    student = make_student()
    vocabulary = student.model.config.vocab_size
    assert rows_sampled_at_once(student) == (2**23 - 2**19) // vocabulary
    sizes, drawn = [], []
    student.head.register_forward_hook(lambda m, i, output: sizes.append(len(output)))
    for numbers in (2**26, 4 * vocabulary, 1):
        monkeypatch.setattr(memory, "_CHUNK_NUMBERS", numbers)
        for temperature in (1.0, 0.0):
            sizes.clear()
            torch.manual_seed(0)
            some = sample(student, PROMPTS, 5, max_new_tokens=6, temperature=temperature)
            drawn.append(completions_of(some))
            assert max(sizes) == min(5 * len(PROMPTS), max(numbers // vocabulary, 1))
    assert drawn[0] == drawn[2] == drawn[4] and drawn[1] == drawn[3] == drawn[5]


def test_a_temperature_of_1_copies_no_logits_and_half_precision_is_raised_first():
    logits = torch.tensor([[1.0, 3.0]])
    assert tempered(logits, 1.0) is logits
    half = tempered(logits.bfloat16(), 3.0)
    assert half.dtype == torch.float32 and half.equal(logits / 3.0)


@pytest.mark.parametrize("plain_head, size", [(True, 32), (False, None)])
def test_states_are_what_the_head_reads_one_row_a_token(plain_head, size):
    student = replace(make_student(), plain_head=plain_head)
    states = completion_states(student, PROMPTS, five_rollouts())
    assert states.shape == (15, size or student.model.config.vocab_size)


# The strategy's KL


def test_the_kl_is_zero_where_the_two_prompts_are_one(student):
    kl = strategy_kl(student, PROMPTS, PROMPTS, five_rollouts())
    close(kl, torch.zeros_like(kl), 1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_kl_equals_the_one_of_full_logits(student, reverse):
    rollouts = five_rollouts()
    with torch.no_grad():
        kl = strategy_kl(student, GUIDED, PROMPTS, rollouts, reverse=reverse)
        for i, completion in enumerate(completions_of(rollouts)):
            row = int(rollouts.rows[i])
            p = logits_by_hand(student, GUIDED[row], completion).double().log_softmax(-1)
            q = logits_by_hand(student, PROMPTS[row], completion).double().log_softmax(-1)
            p, q = (q, p) if reverse else (p, q)
            n = len(completion)
            close(kl[i, :n].double(), (p.exp() * (p - q)).sum(-1))
            assert not kl[i, n:].any()
    assert kl.max() > 0


@pytest.mark.parametrize("reverse", [False, True])
def test_no_gradient_of_the_kl_flows_through_the_guided_side(reverse):
    """Neither through its states nor through the head: as if the guided logits were numbers."""
    student, rollouts = make_student(), five_rollouts()
    with torch.no_grad():
        constants = [
            logits_by_hand(student, GUIDED[rollouts.rows[i]], completion).log_softmax(-1)
            for i, completion in enumerate(completions_of(rollouts))
        ]
    expected = 0.0
    for i, completion in enumerate(completions_of(rollouts)):
        p = constants[i]
        q = logits_by_hand(student, PROMPTS[rollouts.rows[i]], completion).log_softmax(-1)
        first, second = (q, p) if reverse else (p, q)
        expected = expected + (first.exp() * (first - second)).sum()
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in student.model.named_parameters()}
    student.model.zero_grad()
    strategy_kl(student, GUIDED, PROMPTS, rollouts, reverse=reverse).sum().backward()
    for name, parameter in student.model.named_parameters():
        close(parameter.grad, gradients[name])


@pytest.mark.parametrize("budget", [1, 12, 20, 1000])
def test_micro_batches_hold_like_lengths_and_at_most_so_many_tokens(budget):
    lengths = [(4, 3), (2, 1), (4, 5), (1, 2), (6, 6), (2, 2)]
    batches = micro_batches(lengths, budget)
    assert sorted(sum(batches, [])) == list(range(6))
    in_order = [sum(lengths[place]) for batch in batches for place in batch]
    assert in_order == sorted(map(sum, lengths))
    for batch in batches:
        padded = len(batch) * sum(map(max, zip(*(lengths[place] for place in batch), strict=True)))
        assert padded <= budget or len(batch) == 1
    assert len(batches) == {1: 6, 12: 4, 20: 3, 1000: 1}[budget]


def test_a_long_prompt_and_a_long_completion_do_not_share_a_micro_batch():
    lengths = [(100, 10), (10, 100)]
    assert micro_batches(lengths, 220) == [[0], [1]], "together they are 2 x 200 places"
    assert micro_batches(lengths, 400) == [[0, 1]]


def test_without_a_budget_all_is_one_batch_in_its_order():
    assert micro_batches([(7,), (3,), (9,)], 0) == [[0, 1, 2]]
    assert micro_batches([], 0) == []

"""The shape of SmolLM2-135M with random weights, for `against_trl.py`: what people train.

Its tokenizer is the shipped student's, which knows a few hundred words; the embedding and the head
have the real 49,152 rows. Random weights do the work of trained ones, but they never stop by
themselves: a completion's length is forced, or drawn by stop tokens.
"""

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from sgpo_mini.student import TINY_STUDENT

VOCABULARY = 49_152
# Untrained, every token is about equally likely: one stop token in 40 gives 32 of 64 on average.
STOPS = list(range(40, VOCABULARY, 40))


def build(folder: Path, layers: int = 30, hidden: int = 576) -> None:
    """Save the model and its tokenizer; fewer layers and a multiple of 64 try a script itself."""
    tokenizer = AutoTokenizer.from_pretrained(TINY_STUDENT)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(hidden // 192, 1),
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)

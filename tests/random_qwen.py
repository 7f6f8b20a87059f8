"""A model of 5 M random weights that carries Qwen2.5's own tokenizer and settings."""

import shutil
from pathlib import Path

import torch
from transformers import AutoTokenizer, GenerationConfig, Qwen2Config, Qwen2ForCausalLM

END_OF_TEXT, START_OF_TURN, END_OF_TURN = 151643, 151644, 151645
VOCABULARY = 152064


def random_qwen(tokenizer_dir: Path, folder: Path) -> Path:
    """Write it, beside the real tokenizer and the real generation_config.json; returns the folder.

    A random model would never end its turn, so every completion would be cut off and nothing
    rewarded. One attention bias, seen by all positions, is turned towards the end token: it ends
    about one completion in four at every token.
    """
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        eos_token_id=END_OF_TURN,
        bos_token_id=END_OF_TEXT,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        attention = model.model.layers[-1].self_attn
        attention.v_proj.bias.fill_(1.0)
        attention.o_proj.weight.copy_(torch.eye(32))
        model.lm_head.weight[END_OF_TURN] = 11.0 / 32
    model.generation_config = GenerationConfig.from_pretrained(tokenizer_dir)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_dir).save_pretrained(folder)
    shutil.copy(tokenizer_dir / "generation_config.json", folder)
    return folder

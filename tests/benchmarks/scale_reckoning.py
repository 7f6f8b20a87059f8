"""The plan on paper of sgpo_mini/scale/README.md: memory and hours on 1, 8 and 32 GPUs.

    python tests/benchmarks/scale_reckoning.py

Nothing is measured here. The formulas are those of the page, which shows what this prints.
"""

from dataclasses import dataclass

GPUS = (1, 8, 32)
# The GPU that is reckoned with, an H100: memory, bf16 products (dense), memory traffic.
MEMORY, FLOPS, TRAFFIC = 80e9, 989e12, 3.35e12
FLOPS_REACHED, TRAFFIC_REACHED = 0.35, 0.6
CACHE, AT_ONCE = 16e9, 64  # vLLM's keys and values on a GPU; completions written together, at most
LONGEST = 32_768
PROBLEMS = 8_500 * 2 // 3  # a third goes to the warm-up
AUTONOMOUS, GUIDED = 8, 4


@dataclass
class Model:
    """Qwen2.5's published sizes: parameters, layers, width, of the MLP, of all keys of a token."""

    name: str
    parameters: float
    layers: int
    width: int
    mlp: int
    keys: int

    def state(self) -> float:
        """Bytes to train all weights: weight, gradient, two moments of Adam, float32 each."""
        return 16 * self.parameters

    def activations(self, tokens: int) -> float:
        """Bytes of one row under gradient checkpointing: all layers' inputs, one layer opened."""
        inputs = 4 * self.width * self.layers
        opened = 2 * (4 * self.mlp + 6 * self.width)
        return tokens * (inputs + opened)

    def cache(self, tokens: float) -> float:
        """Bytes of keys and values, bf16."""
        return tokens * 2 * 2 * self.keys * self.layers

    def forward(self, tokens: float) -> float:
        """Operations of a forward pass over one row: the weights, and the causal attention."""
        return tokens * (2 * self.parameters + 2 * tokens * self.width * self.layers)

    def learning_seconds(self, tokens: float) -> float:
        """GPU seconds of a problem's update. A pass with gradient is four: 1 + 1 again + 2 back."""
        passes = AUTONOMOUS * 4  # the exploration part
        passes += GUIDED  # the log-probabilities that choose the target
        passes += 1 + 4  # the target, guided and autonomous
        return passes * self.forward(tokens) / (FLOPS * FLOPS_REACHED)

    def writing_seconds(self, tokens: float) -> float:
        """GPU seconds of a problem's completions: every token reads the weights and its cache."""
        together = min(AT_ONCE, CACHE // self.cache(tokens))
        read = 2 * self.parameters + together * self.cache(tokens / 2)
        step = read / (TRAFFIC * TRAFFIC_REACHED)
        return (AUTONOMOUS + GUIDED) * tokens * step / together


MODELS = (
    Model("1.5B", 1.54e9, 28, 1536, 8960, 2 * 128),
    Model("7B", 7.62e9, 28, 3584, 18944, 4 * 128),
)


def memory_table() -> str:
    head = " | ".join(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS)
    lines = [f"| GB a GPU | {head} |", "| --- " * (len(GPUS) + 1) + "|"]
    for model in MODELS:
        pieces = [model.state() / gpus for gpus in GPUS]
        rows, writer = 2 * model.activations(LONGEST), 2 * model.parameters + CACHE
        told = {
            "weights, gradients, Adam, in pieces": pieces,
            "two rows of 32 K tokens": [rows] * len(GPUS),
            "vLLM: weights and cache": [writer] * len(GPUS),
            "**most, vLLM asleep during updates**": [held + max(rows, writer) for held in pieces],
        }
        for name, values in told.items():
            cells = [f"{v / 1e9:.1f}{' (too much)' if v > MEMORY else ''}" for v in values]
            lines.append(f"| {model.name}: {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def hours_table() -> str:
    head = " | ".join(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS)
    lines = [f"| hours an epoch | update : writing | {head} |", "| --- " * (len(GPUS) + 2) + "|"]
    for model in MODELS:
        for tokens in (1_000, 4_000, 16_000, LONGEST):
            update, writing = model.learning_seconds(tokens), model.writing_seconds(tokens)
            hours = PROBLEMS * (update + writing) / 3600
            told = [f"{hours / gpus:.2f}" for gpus in GPUS]
            share = f"{update / (update + writing):.0%} : {writing / (update + writing):.0%}"
            lines.append(f"| {model.name}, {tokens:,} tokens | {share} | {' | '.join(told)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(memory_table(), hours_table(), sep="\n\n")

"""The figures: one function a figure, each from plain data to a matplotlib Figure.

They leave matplotlib's global state alone, need no display, and suit colour-blind readers.
"""

from .costs import cost_growth
from .differences import forest, gain_by_difficulty, pass_rate_by_prompt, seed_differences
from .domain import walks_and_gains
from .dynamics import training_dynamics
from .learning import SMOOTHING_STEPS, accuracy_by_step, weights_by_step, window_means
from .looks import BLUE, GREEN, GREY  # for figures of your own
from .method import method_picture
from .rewards import groups_with_signal, reward_verdicts
from .style import own_style, save
from .tokens import (
    TOKENS_WIDTH,
    next_token_shift,
    token_kl_strip,
    token_probability_strip,
    two_fits,
)
from .transfer import transfer_gains
from .weights import kl_histogram, weight_surface

"""The figures: one function per figure, which turns plain data into a matplotlib Figure.

The functions do not change matplotlib's global state, need no display, and use colours that
colour-blind readers can tell apart.
"""

from .costs import cost_growth
from .differences import forest, gain_by_group, pass_rate_by_prompt, seed_differences
from .domain import success_by_student, walks_in_town
from .dynamics import training_dynamics
from .learning import SMOOTHING_STEPS, accuracy_by_step, weights_by_step, window_means
from .looks import BLUE, GREEN, GREY  # for your own figures
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
from .transfer import transfer_gains, transfer_levels
from .weights import kept_by_delta, weight_surface

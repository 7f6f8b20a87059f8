"""The checks of the notebooks' exercises, one file per notebook.

A check calls the reader's function, prints one line that says whether the answer is right and, if
not, what is wrong, and returns whether the exercise is solved. It never raises, whatever the
function does; only Ctrl-C gets through. The expected answers come from the package's own functions.
`checking.py` has what the checks share. Only the notebooks import this wing.
"""

from .baselines import check_luffy_gradient, check_paired_interval
from .forward_kl import check_kl_gradient, check_reverse_kl
from .grpo import check_group_size, check_grpo_loss
from .own_domain import check_held_out, check_order_reward
from .rewards import check_hack, check_reward
from .rollouts import check_completion_logps, check_sampling_loop
from .start_here import check_adaptive_weight, check_kept_tokens
from .strategies import PEARS, check_own_strategy, check_wrong_strategies
from .strategy_transfer import check_near_miss, check_plan_reader
from .train_a_student import check_first_bad_step, check_learning
from .when_to_distill import check_clipped_loss, check_targets

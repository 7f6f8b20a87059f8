"""A run of the script in two processes, one of which may be killed: see test_scale_processes.py.

killed_scale_run.py LOG STEP OPTIONS...: as `sgpo_mini.scale.train OPTIONS`; the second process
kills itself with SIGKILL when update STEP (from 1; 0: never) is about to be made. Each process
appends its metrics, a line for each step, to LOG-RANK.
"""

import json
import os
import signal
import sys

import torch
from transformers import TrainerCallback

from sgpo_mini.scale import trainer
from sgpo_mini.scale.train import main


class Watch(TrainerCallback):
    def on_log(self, args, state, control, logs, **kwargs):
        if "p_auto" in logs:
            with open(f"{LOG}-{RANK}", "a", encoding="utf-8") as file:
                print(json.dumps({"step": state.global_step, **logs}), file=file)

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if RANK == "1" and state.global_step + 1 == STEP:
            os.kill(os.getpid(), signal.SIGKILL)


LOG, STEP, RANK = sys.argv[1], int(sys.argv[2]), os.environ["RANK"]
real = trainer.SGPOTrainer.__init__
trainer.SGPOTrainer.__init__ = lambda self, *arguments, **settings: real(
    self, *arguments, callbacks=[Watch()], **settings
)
status = main(sys.argv[3:])
assert not torch.distributed.is_initialized(), "the process ends within its group"
sys.exit(status)

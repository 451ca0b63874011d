"""The hooks that come with Midway. Importing this package registers those that can be chosen with --hook."""

from research.hooks.checkpointing import Checkpointing
from research.hooks.early_stopping import EarlyStopping
from research.hooks.ema import ExponentialMovingAverage
from research.hooks.evaluation import BestModel, Evaluation
from research.hooks.fgm import FastGradientMethod
from research.hooks.gradual_unfreezing import GradualUnfreezing
from research.hooks.length_warmup import LengthWarmup
from research.hooks.logging import MetricsLog, Progress
from research.hooks.loss_spike_guard import LossSpikeGuard
from research.hooks.profiling import Profiling
from research.hooks.swa import StochasticWeightAveraging
from research.training.hook import HOOKS, Hook, register_hook

__all__ = [
    "HOOKS",
    "BestModel",
    "Checkpointing",
    "EarlyStopping",
    "Evaluation",
    "ExponentialMovingAverage",
    "FastGradientMethod",
    "GradualUnfreezing",
    "Hook",
    "LengthWarmup",
    "LossSpikeGuard",
    "MetricsLog",
    "Profiling",
    "Progress",
    "StochasticWeightAveraging",
    "register_hook",
]

"""Imports what a run imports, sooner or later; see tests/forked.py."""

import gc
import importlib
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read while huggingface_hub is imported
for module in (
    "research.runner.experiment",
    "research.learning.metrics",
    "research.report.page",
    "scipy.stats",
    "sklearn.metrics",
    "torch.utils.tensorboard",
    "matplotlib.pyplot",
):
    importlib.import_module(module)
gc.freeze()  # else every child looks for garbage among all of this

"""Import the modules that runs need, in the fork server of tests/forked.py."""

import gc
import importlib
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # huggingface_hub reads it on import
for module in (
    "research.runner.experiment",
    "research.learning.metrics",
    "research.report.page",
    "scipy.stats",
    "sklearn.metrics",
    "torch.utils.tensorboard",
    "transformers.models.bert.modeling_bert",
    "matplotlib.pyplot",
    "accelerate.commands.launch",
    "torch.distributed.run",
    "research.studies.run_study",
    "research.data.sources.registered",
):
    importlib.import_module(module)
# Compute two values that do not depend on the run. Forked processes inherit them.
_ = importlib.import_module("research.settings.program").RUN.parser
importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("bert")
gc.freeze()  # so that child processes do not search all these objects for garbage

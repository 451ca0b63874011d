"""Imports what a run imports; see tests/forked.py."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read while huggingface_hub is imported
import research.runner.experiment  # noqa: F401

"""Rows in, batches out."""

from research.data.batch import Batch
from research.data.cleaning import CLEANING, register_cleaning
from research.data.collate import Collator
from research.data.load import Splits, load_splits
from research.data.sources import PACKAGED
from research.data.tokens import tokenize_splits

__all__ = ["CLEANING", "PACKAGED", "Batch", "Collator", "Splits", "load_splits", "register_cleaning", "tokenize_splits"]

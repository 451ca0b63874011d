"""Tests of `research.data`, from data sources to batches."""

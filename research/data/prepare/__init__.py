"""Prepare the rows of a run: choose columns, clean texts, encode labels, split, and cache the result."""

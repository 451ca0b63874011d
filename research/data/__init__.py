"""Rows in, batches out."""

"""Edits: changes of the model or its training between two steps."""

"""Checkpoints: saved, found, compared with the settings, and loaded."""

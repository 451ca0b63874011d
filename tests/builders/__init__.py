"""Builders for tests: good and damaged files, runs and studies, and working directories for commands."""

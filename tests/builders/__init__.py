"""Builders of test inputs: valid and damaged files, runs, studies, and working directories for commands."""

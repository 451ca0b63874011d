"""A plugin for the tests: processes wait only a second for the main process's files in the run directory."""

from research.runner import shared_files

shared_files.VISIBILITY_TIMEOUT = 1.0

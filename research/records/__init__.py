"""The records of a run: run directory, results, journal, figures and trackers."""

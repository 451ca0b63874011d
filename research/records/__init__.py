"""What a run leaves behind: its directory, results, journal, curves, and trackers."""

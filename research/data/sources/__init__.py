"""Data sources: find the files or the data set that `--data` names, and read their rows."""

"""The database of a study, and its trials in it."""

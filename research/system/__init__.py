"""Operating system and terminal: files, locks, signals, the launcher, and messages to the user."""

"""The operating system and the terminal: files, locks, signals, the launcher, and what the user is told."""

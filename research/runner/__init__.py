"""A single run, from its settings to its result."""

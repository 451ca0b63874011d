"""Commands for developers, whose functions are also called by tests."""

"""Commands for developers. Tests call their functions too."""

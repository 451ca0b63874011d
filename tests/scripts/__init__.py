"""Commands for people; tests call their functions."""

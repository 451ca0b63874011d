"""Checks that run before any large library is imported."""

"""Comparisons of arms over seeds and over examples."""

"""Studies: a grid of trials, the workers that run them, and the comparison of their results."""

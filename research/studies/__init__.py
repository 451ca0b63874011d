"""Many runs, compared: a grid of trials, and workers that run them."""

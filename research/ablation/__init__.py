"""Many runs, compared: a grid of trials, workers that run them, statistics over seeds."""

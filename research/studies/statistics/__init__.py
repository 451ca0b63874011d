"""Statistical comparisons: of arms over seeds, and of trained models over rows."""

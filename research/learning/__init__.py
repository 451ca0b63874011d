"""What is minimised and measured: objectives, schedules, the optimizer, and metrics."""

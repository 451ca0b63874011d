"""Objectives, schedules, the optimizer, and metrics."""

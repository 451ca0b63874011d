"""Objectives, schedules, optimizers, and metrics."""

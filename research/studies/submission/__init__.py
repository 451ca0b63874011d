"""Submission of a study's workers to Slurm, as an array of tasks that are requeued when they are interrupted."""

"""Export a trained model into a folder that does not need Midway: experiments/export.py RUN --format hub."""

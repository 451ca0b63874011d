"""report.html: the results, curves, edits and settings of a run on one page."""

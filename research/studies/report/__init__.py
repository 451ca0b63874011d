"""report.html, report.md, results.csv, and tensorboard/ of a study: its arms, compared."""

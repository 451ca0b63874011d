"""The report of a study: report.html, report.md, results.csv, comparisons.csv, report/ and tensorboard/."""

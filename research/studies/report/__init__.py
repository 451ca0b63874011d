"""The report of a study: report.html, report.md, results.csv and tensorboard/."""

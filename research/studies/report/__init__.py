"""The report of a study: report.html, report.md, results.csv, report/ and tensorboard/."""

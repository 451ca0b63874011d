"""report.html, report.md, results.csv and tensorboard/ of a study: its arms, compared."""

from research.report.study.console import ranking_lines
from research.report.study.page import write_study_report

__all__ = ["ranking_lines", "write_study_report"]

"""report.html, report.md, results.csv and tensorboard/ of a study: its arms, compared."""

from research.report.study.console import ranking_lines
from research.report.study.contents import find_contents
from research.report.study.page import write_contents, write_study_report

__all__ = ["find_contents", "ranking_lines", "write_contents", "write_study_report"]

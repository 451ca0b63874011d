"""report.html: what a run did, on one page."""

from research.report.page import write_report

__all__ = ["write_report"]

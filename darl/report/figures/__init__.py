"""Figures of a sweep: each module draws frames on axes, and reads no files."""

from darl.report.figures.choose import headings, is_ours, pictures
from darl.report.figures.figure import ReportFigure, save

__all__ = ["ReportFigure", "headings", "is_ours", "pictures", "save"]

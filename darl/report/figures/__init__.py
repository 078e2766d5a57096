"""Figures of a sweep: each module draws frames on axes, and reads no files."""

from darl.report.figures.choose import draw_all, headings, is_ours
from darl.report.figures.figure import ReportFigure, save

__all__ = ["ReportFigure", "draw_all", "headings", "is_ours", "save"]

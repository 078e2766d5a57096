"""Pictures of a sweep: each takes frames and axes, and reads no files."""

from darl.report.figures.choose import headings, is_ours, pictures
from darl.report.figures.figure import Picture, save

__all__ = ["Picture", "headings", "is_ours", "pictures", "save"]

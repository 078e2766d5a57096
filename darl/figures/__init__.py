"""Pictures of a sweep: each takes frames and axes, and reads no files."""

from darl.figures.gallery import headings, is_ours, pictures
from darl.figures.picture import Picture, save

__all__ = ["Picture", "headings", "is_ours", "pictures", "save"]

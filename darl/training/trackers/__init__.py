"""Trackers that show runs beside the tables: a family with one file a tracker."""

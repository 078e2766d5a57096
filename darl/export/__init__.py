"""Encoders in the files of other programs: one target a file, found by its family (`darl.export.base`)."""

"""Noise schedules beside those of `darl.model.noise`: one file each."""

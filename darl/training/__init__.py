"""Pretraining: the loop, its checkpoints, its events and its trackers."""

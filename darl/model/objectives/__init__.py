"""Training objectives: one class in one file each."""

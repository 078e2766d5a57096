"""Training objectives, one class and one file each; `base` has the interface, `next_patch` what the paper's share."""

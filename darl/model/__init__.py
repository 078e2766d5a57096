"""The DARL model, its parts, and the objectives it is trained by."""

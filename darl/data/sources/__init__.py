"""Where images come from: one kind of source in one file each."""

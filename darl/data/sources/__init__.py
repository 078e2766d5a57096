"""Where images come from: one kind of data (digits, files, torchvision, the Hub) in one module each."""

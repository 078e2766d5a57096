"""Kinds of data: the embedded digits, files, torchvision's data sets, the Hub's; one module each."""

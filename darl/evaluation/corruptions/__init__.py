"""Corruptions of images, after ImageNet-C: one family, a module for each kind of cause."""

"""Protocols that judge a model by what it says about every place of an image: one protocol a file, as in the package.

They need other data than labelled images, so they are a family of their own (`base`), which sweeps do not take.
"""

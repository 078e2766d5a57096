"""Evaluation of pretrained models: protocols, one class and one file each (`linear`, `knn`, `denoising`)."""

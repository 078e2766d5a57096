"""What a pretrained model is worth: evaluation protocols, one class in one file each (`linear`, `knn`, `denoising`)."""

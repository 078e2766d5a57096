"""What a pretrained model is worth: probes on its frozen features, and its denoising error."""

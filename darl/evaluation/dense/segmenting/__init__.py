"""What linear segmentation is made of. Imported only where it is measured."""

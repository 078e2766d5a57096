"""What detection is made of. Imported only where it is measured."""

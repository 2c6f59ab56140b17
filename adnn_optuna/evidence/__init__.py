"""What studies show, as numbers."""

"""What runs a study and reads it back."""

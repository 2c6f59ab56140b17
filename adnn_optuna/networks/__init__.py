"""What is trained, on what data, from which initial values."""

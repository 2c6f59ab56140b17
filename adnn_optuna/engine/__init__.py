"""Functions that run studies and read them back."""

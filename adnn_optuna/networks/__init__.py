"""Networks, their data, their initial values and their training."""

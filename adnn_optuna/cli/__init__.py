"""The command line ``adnn``: a command for each verb of the Python API."""

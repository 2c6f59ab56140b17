"""The command line ``adnn``: a command for each of Python's main functions, such as ``search``."""

"""The command line as ``python -m adnn_optuna``."""

from adnn_optuna.cli import main

if __name__ == "__main__":
    main()

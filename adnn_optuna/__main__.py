"""The command line as ``python -m adnn_optuna``."""

from adnn_optuna.cli.main import main

if __name__ == "__main__":
    main()

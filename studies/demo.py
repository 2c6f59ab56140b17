"""Greedy, annealing and random restarts on digits: the comparison behind ``make demo``.

Each of the three samplers gets 10 seeds × 30 trials. Two other uses of the same compute get as
much: the learning rate, and an average of 30 networks. The studies are kept in ``demo.db``, so a
second run shows the same tables at once. The report is written to ``demo.html``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import adnn_optuna as adnn
from adnn_optuna.cli.output import load_libraries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--trials", type=int, default=30, help="trials of each run")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of demo.db, demo.html")
    args = parser.parse_args()

    # Otherwise, TensorFlow's notices would be the first output that a new user sees.
    load_libraries()
    # Training is short, because initial weights matter most in short training.
    objective = adnn.InitOffsetObjective(
        adnn.MLP(hidden=(64, 64)),
        adnn.load_dataset("digits"),
        training=adnn.Training(optimizer="sgd", learning_rate=0.05, batch_size=32, epochs=5),
    )
    database = args.output / "demo.db"
    comparison = adnn.compare(
        objective,
        samplers=("greedy", "annealing", "random_restart"),
        max_trial=args.trials,
        seeds=range(args.seeds),
        controls=("learning_rate", "ensemble"),
        storage=f"sqlite:///{database}",
        study_name="demo",
        show_progress_bar=True,
    )
    report = args.output / "demo.html"
    comparison.report(report)
    print(
        f"\nDigits, 64-64-10, SGD, 5 epochs; {args.seeds} seeds x {args.trials} trials.\n"
        f"Selection is on the validation set.\n\n{comparison}\n\n"
        f"report:  {report}\n"
        f"studies: {database} (browse them with: optuna-dashboard sqlite:///{database})"
    )


if __name__ == "__main__":
    main()

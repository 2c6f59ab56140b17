"""Write inventories of other projects, with only the names to which this site links.

The projects' own inventories would need a network while the site is built. Some of Optuna's
classes have a second entry, under the name of the private module by which autodoc knows them.
"""

from __future__ import annotations

import zlib
from pathlib import Path

FOLDER = Path(__file__).parent / "inventories"

_OPTUNA = "reference/generated/optuna.{}.html#optuna.{}"
_SAMPLER = "reference/samplers/generated/optuna.{}.html#optuna.{}"
_NUMPY, _SCALARS = "reference/generated/{}.html#{}", "reference/arrays.scalars.html#{}"

_PANDAS = ("class", "reference/api/pandas.DataFrame.html#pandas.DataFrame")
_PLOTLY = ("class", "generated/plotly.graph_objects.Figure.html#plotly.graph_objects.Figure")

# For each project, maps names to their kind and address.
NAMES: dict[str, dict[str, tuple[str, str]]] = {
    "optuna": {
        "optuna.study.Study": ("class", _OPTUNA.format(*["study.Study"] * 2)),
        "optuna.study.study.Study": ("class", _OPTUNA.format(*["study.Study"] * 2)),
        "optuna.study.Study.optimize": (
            "method",
            _OPTUNA.format("study.Study", "study.Study.optimize"),
        ),
        "optuna.create_study": ("function", _OPTUNA.format(*["study.create_study"] * 2)),
        "optuna.study.MaxTrialsCallback": (
            "class",
            _OPTUNA.format(*["study.MaxTrialsCallback"] * 2),
        ),
        "optuna.study._study_direction.StudyDirection": (
            "class",
            _OPTUNA.format(*["study.StudyDirection"] * 2),
        ),
        "optuna.trial._trial.Trial": ("class", _OPTUNA.format(*["trial.Trial"] * 2)),
        "optuna.trial._fixed.FixedTrial": ("class", _OPTUNA.format(*["trial.FixedTrial"] * 2)),
        "optuna.trial._frozen.FrozenTrial": ("class", _OPTUNA.format(*["trial.FrozenTrial"] * 2)),
        "optuna.trial.FrozenTrial": ("class", _OPTUNA.format(*["trial.FrozenTrial"] * 2)),
        "optuna.pruners.MedianPruner": ("class", _OPTUNA.format(*["pruners.MedianPruner"] * 2)),
        "optuna.pruners._base.BasePruner": ("class", _OPTUNA.format(*["pruners.BasePruner"] * 2)),
        "optuna.storages._base.BaseStorage": ("class", "reference/storages.html"),
        "BaseStorage": ("class", "reference/storages.html"),
        "optuna.samplers._base.BaseSampler": (
            "class",
            _SAMPLER.format(*["samplers.BaseSampler"] * 2),
        ),
        **{
            f"optuna.samplers.{name}": ("class", _SAMPLER.format(*[f"samplers.{name}"] * 2))
            for name in ("CmaEsSampler", "GridSampler", "RandomSampler")
        },
    },
    "keras": {
        "keras.Model": ("class", "api/models/model/#model-class"),
        "keras.callbacks.EarlyStopping": (
            "class",
            "api/callbacks/early_stopping/#earlystopping-class",
        ),
        "keras.metrics.Metric": ("class", "api/metrics/base_metric/#metric-class"),
        "keras.optimizers.Optimizer": ("class", "api/optimizers/"),
        "keras.saving.register_keras_serializable": (
            "function",
            "api/models/model_saving_apis/serialization_utils/",
        ),
    },
    "numpy": {
        "numpy.ndarray": ("class", _NUMPY.format(*["numpy.ndarray"] * 2)),
        "numpy.dtype": ("class", _NUMPY.format(*["numpy.dtype"] * 2)),
        "numpy.float32": ("class", _SCALARS.format("numpy.float32")),
        "numpy.float64": ("class", _SCALARS.format("numpy.float64")),
        "numpy.int64": ("class", _SCALARS.format("numpy.int64")),
    },
    "pandas": dict.fromkeys(("pandas.DataFrame", "pd.DataFrame"), _PANDAS),
    "plotly": dict.fromkeys(("plotly.graph_objs._figure.Figure", "go.Figure"), _PLOTLY),
    "python": {
        **{
            f"collections.abc.{name}": (
                "class",
                f"library/collections.abc.html#collections.abc.{name}",
            )
            for name in ("Callable", "Iterable", "Mapping", "Sequence")
        },
        "os.PathLike": ("class", "library/os.html#os.PathLike"),
        "concurrent.futures._base.Executor": (
            "class",
            "library/concurrent.futures.html#concurrent.futures.Executor",
        ),
    },
}


def inventory(project: str) -> bytes:
    """Return the inventory of a project in Sphinx's format."""
    lines = [f"{name} py:{kind} 1 {uri} -\n" for name, (kind, uri) in NAMES[project].items()]
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    return head.encode() + zlib.compress("".join(lines).encode(), 9)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for project in NAMES:
        (FOLDER / f"{project}.inv").write_bytes(inventory(project))

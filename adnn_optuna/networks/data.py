"""Data sets: their checks, their splits and their fingerprints."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from adnn_optuna import _checks
from adnn_optuna._attributes import Json
from adnn_optuna._checks import WrongValueError, logger
from adnn_optuna.networks import _arrays, _splits, duplicates, preprocessing
from adnn_optuna.networks._arrays import Array, Indices
from adnn_optuna.networks.preprocessing import Preprocessing

Task = Literal["classification", "regression"]
Missing = Literal["refuse", "impute"]
Rare = Literal["refuse", "other"]

_SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class _Draw:
    """The samples from which splits are drawn, and the settings of the data set."""

    # Arrays or tables as passed. In each mapping, "" has the samples to split. "_val" and "_test"
    # have the splits that the user passed, if any.
    inputs: Mapping[str, Any]
    labels: Mapping[str, Array]
    sizes: Sequence[int]  # The sizes of the test split and the validation split.
    group: Indices | None
    classes: Sequence[Any]
    weights: Mapping[str, Any]
    impute: bool
    layout: Preprocessing  # Redrawn splits get the same number of features as the first splits.

    def fields(self, seed: int) -> dict[str, Any]:
        """Return the fields of a :class:`Dataset` whose splits are drawn with this seed."""
        y = self.labels[""]
        rows = _splits.drawn_rows(y, self.sizes, seed, self.group)
        train = rows["train"]
        columns = preprocessing.columns_of(self.inputs[""], train, self.layout)
        encoded = {
            suffix: columns.encoded(raw, f"x{suffix}", may_lack=self.impute)
            for suffix, raw in self.inputs.items()
        }
        fields = dict[str, Any]()
        inputs = {}
        for split in _SPLITS:
            inputs[split] = encoded.get(f"_{split}", encoded[""][rows[split]])
            fields[f"y_{split}"] = self.labels.get(f"_{split}", y[rows[split]])
        if self.impute:
            columns, inputs = preprocessing.imputed(columns, inputs)
        for split, x in inputs.items():
            fields[f"x_{split}"] = x
        fields["weight_train"] = _arrays.weights(y, train, self.classes, **self.weights)
        # A passed test set has no groups.
        if self.group is not None and "_test" not in self.labels:
            fields["groups_test"] = self.group[rows["test"]]
        fields["preprocessing"] = columns
        return fields

    def kept(self, layout: Preprocessing) -> Self:
        """Return a copy of this draw with copied samples and with this layout for redraws."""
        copies = {}
        for suffix, raw in self.inputs.items():
            inputs = raw
            if layout.columns is None:
                inputs = _arrays.plain(f"x{suffix}", raw)
            copies[suffix] = inputs.copy()
        return dataclasses.replace(self, inputs=copies, layout=layout)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs with labels or numbers, in three read-only splits.

    Nothing is scaled. A Keras model receives these arrays, and an ``MLP`` scales them itself. The
    constructor takes data that are already split, and :meth:`from_arrays` splits data.

    Example:
        >>> pixels = np.zeros((4, 8, 8), dtype=np.uint8)
        >>> Dataset("mine", pixels, [0, 1, 1, 0], pixels, [0, 1, 1, 0], pixels, [0, 1, 1, 0], 2)
        Dataset(name='mine', num_classes=2, drawn=())

    Args:
        name: The name of the data in reports and plots.
        x_train: Training inputs, shape (n, features), (n, height, width) or (n, height, width,
            channels). They are finite numbers. Integers and truth values keep their dtype, and
            floats become float32.
        y_train: Training labels. They are integers in 0 … num_classes - 1 of shape (n,), kept as
            int32. In a regression, they are numbers of shape (n,) or (n, targets), kept as
            float64.
        x_val, y_val: The same for validation data, on which a search selects. They may be empty.
        x_test, y_test: The same for test data.
        num_classes: The number of classes, at least 2. It is None in a regression.
        origin: Settings, as JSON, from which ``dataset_from_config`` loads the data again. None
            for arrays.
        drawn: The splits (``val``, ``test``) that were drawn at random from the same samples as
            the training split. :meth:`redrawn` may redraw them.
        classes: The user's label of each class, or None if the labels are 0 … num_classes - 1.
        weight_train: The weight of each training sample, shape (n,), or None if all are 1.
        groups_test: The group number of each test sample, shape (n,), if there are groups.
        preprocessing: The conversion of a table's columns to these inputs.
        positive: The user's label of the positive class, for metrics of two classes such as
            recall. With None, it is the label ``1`` or ``True``, if it exists.

    Raises:
        ValueError: If an array is wrong.
    """

    name: str
    x_train: Array = field(repr=False)
    y_train: Array = field(repr=False)
    x_val: Array = field(repr=False)
    y_val: Array = field(repr=False)
    x_test: Array = field(repr=False)
    y_test: Array = field(repr=False)
    num_classes: int | None
    origin: Mapping[str, Any] | None = field(default=None, repr=False)
    drawn: tuple[Literal["val", "test"], ...] = ()
    classes: tuple[Any, ...] | None = field(default=None, repr=False)
    weight_train: NDArray[np.float32] | None = field(default=None, repr=False)
    groups_test: Indices | None = field(default=None, repr=False)
    preprocessing: Preprocessing = field(default=Preprocessing(), repr=False)
    positive: Any = field(default=None, repr=False)
    # The samples for redrawn splits, if the first splits do not contain all that a redraw needs.
    draw: _Draw | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        n = self.num_classes
        checked = dict[str, Any]()
        if n is not None:
            checked["num_classes"] = n = _checks.as_integer("num_classes", n, low=2)
        labels: tuple[Any, ...] = ()
        of_y: type[np.generic] = np.float64
        if n is not None:
            labels = tuple(self.classes or range(n))
            of_y = np.int32
        checked["positive"] = _arrays.checked_positive(self.positive, labels)
        raw = {split: getattr(self, f"x_{split}") for split in _SPLITS}
        inputs = {split: _arrays.checked_inputs(f"x_{split}", x) for split, x in raw.items()}
        of_x = _arrays.common_dtype(inputs)
        for split, x in inputs.items():
            y = self._checked_targets(split, x)
            checked[f"x_{split}"] = _arrays.read_only(x, of_x)
            checked[f"y_{split}"] = _arrays.read_only(y, of_y)
            for kind in "xy":
                shape = checked[f"{kind}_{split}"].shape[1:]
                expected_shape = checked[f"{kind}_train"].shape[1:]
                if shape != expected_shape:
                    raise WrongValueError(
                        f"A sample of {kind}_{split} has the shape {shape}, one of {kind}_train "
                        f"{expected_shape}. Pass the same for all splits."
                    )
        has_more = self.weight_train is not None or self.groups_test is not None
        if self.drawn and has_more and self.draw is None:
            raise WrongValueError(
                "Samples with weights or groups stay in their splits. Omit drawn."
            )
        for name, dtype in (("weight_train", np.float32), ("groups_test", np.intp)):
            values = getattr(self, name)
            if values is not None:
                checked[name] = _arrays.read_only(np.asarray(values), dtype)
        merged = _arrays.merged_feature(inputs["train"])
        if merged is not None:
            feature = self.preprocessing.feature(merged)
            message = "Dataset %r: float32 merges values of feature %s: subtract a common offset."
            logger.warning(message, self.name, feature)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def _checked_targets(self, split: str, x: Array) -> Array:
        n = self.num_classes
        y: Array = getattr(self, f"y_{split}")
        y = _arrays.read_targets(f"_{split}", x, y, are_labels=n is not None)
        if n is not None:
            y = _arrays.encoded_labels(f"y_{split}", y, range(n))
        if len(y) == 0 and split != "val":
            raise WrongValueError(f"x_{split} is empty. Pass at least one sample.")
        return y

    @property
    def unit(self) -> str:
        """The word for samples: ``"images"``, or ``"examples"`` for rows and sequences."""
        shape = self.x_train.shape[1:]
        has_pixels = self.x_train.dtype == np.uint8
        is_image = len(shape) == 2 and (has_pixels or shape[0] == shape[1])
        if is_image or len(shape) == 3:
            return "images"
        return "examples"

    @property
    def positive_number(self) -> int | None:
        """The number of the positive class, if there is one."""
        if self.positive is None:
            return None
        labels = self.classes or range(self.num_classes or 0)
        return [*labels].index(self.positive)

    @property
    def task(self) -> Task:
        """``"classification"`` or ``"regression"``."""
        if self.y_train.dtype.kind == "f":
            return "regression"
        return "classification"

    @property
    def n_outputs(self) -> int:
        """The number of classes, or the number of a regression's targets."""
        return self.num_classes or math.prod(self.y_train.shape[1:])

    @functools.cached_property
    def test_groups(self) -> Indices:
        """The group number of each test sample, from 0. Equal samples are in one group."""
        equal_samples = duplicates.groups_of(self.x_test, self.y_test)
        if self.groups_test is None:
            return equal_samples
        return duplicates.merged(equal_samples, self.groups_test)

    @functools.cached_property
    def duplicates(self) -> dict[str, int]:
        """The number of samples that occur in two splits, see :func:`count_duplicates`."""
        inputs = {split: getattr(self, f"x_{split}") for split in _SPLITS}
        return duplicates.count_duplicates(inputs, self.y_test)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of splits, training weights and number of classes, as 64 hex digits."""
        arrays = [f"{kind}_{split}" for split in _SPLITS for kind in "xy"]
        return self._digest(f"num_classes={self.num_classes}", *arrays, "weight_train")

    @functools.cached_property
    def test_fingerprint(self) -> str:
        """SHA-256 of the test samples alone, as 64 hex digits."""
        return self._digest("", "x_test", "y_test")

    def _digest(self, beginning: str, *arrays: str) -> str:
        digest = hashlib.sha256(beginning.encode())
        for name in arrays:
            array = getattr(self, name)
            if array is not None:
                header = f";{name},{array.dtype.str},{array.shape}:"
                digest.update(header.encode())
                digest.update(array.reshape(-1))
        return digest.hexdigest()

    @property
    def config(self) -> Json:
        """The configuration in JSON that a study stores for ``dataset_from_config``."""
        config = {"name": self.name, **(self.origin or {"source": "arrays"})}
        if self.task == "regression":
            config["task"] = self.task
        if self.classes is not None:
            config["classes"] = list(self.classes)
        if self.preprocessing != Preprocessing():
            config["preprocessing"] = self.preprocessing.config
        if self.duplicates:
            config["duplicates"] = self.duplicates
        return {**config, "fingerprint": self.fingerprint}

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any = None,
        *,
        x_val: Any = None,
        y_val: Any = None,
        x_test: Any = None,
        y_test: Any = None,
        name: str = "arrays",
        validation_size: float | None = None,
        test_size: float | None = None,
        seed: int = 0,
        num_classes: int | None = None,
        task: Task = "classification",
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        sample_weight: Any = None,
        groups: Any = None,
        missing: Missing = "refuse",
        rare: Rare = "refuse",
        positive: Any = None,
    ) -> Self:
        """Make a data set of your own arrays or tables. Missing splits are drawn from ``x``.

        The splits are drawn at random, stratified by label, and keep the order of ``x``. The test
        split does not depend on ``validation_size``.

        Example:
            >>> x, y = np.random.default_rng(0).random((100, 4)), np.arange(100) % 2
            >>> Dataset.from_arrays(x, y, name="mine", validation_size=10, test_size=0.3)
            Dataset(name='mine', num_classes=2, drawn=('val', 'test'))

        Args:
            x: Finite numbers with a shape that :class:`Dataset` accepts, or a pandas DataFrame.
                Each numerical column of a DataFrame becomes a feature. Each category of another
                column becomes a feature that is 1 in the category's rows, and 0 in other rows.
            y: Integers, strings, truth values or one-hot rows. For a regression, numbers. Labels
                other than 0, 1, … are sorted and mapped to 0, 1, …, see ``Dataset.classes``.
            x_val: Validation inputs, instead of a part of ``x``.
            y_val: Validation labels.
            x_test: Test inputs, instead of a part of ``x``.
            y_test: Test labels.
            name: The name of the data in reports and plots.
            validation_size: The size of the validation split: a number of the samples of ``x`` (0
                for none), or a fraction (a float below 1). Default: 0.2.
            test_size: The size of the test split, as for ``validation_size``. Default: 0.2.
            seed: Seed of the draw, 0 or more.
            num_classes: The number of classes, if integer labels should not be mapped.
            task: ``"classification"`` or ``"regression"``.
            class_weight: The weight of training samples by label, by default 1. With
                ``"balanced"``, a label's weight is inverse to its number of training samples.
            sample_weight: Weights of the samples of ``x``, shape (n,). Only the weights of
                training samples count.
            groups: The group of each sample of ``x``, such as a patient or a day, shape (n,). Each
                group is in one split, and CIs over test samples treat a group as one unit.
            missing: ``"impute"`` replaces missing inputs by the feature's median or most frequent
                category in the training part. Otherwise, missing inputs raise an error.
            rare: ``"other"`` merges unknown and rare categories into one feature. A category is
                rare if fewer than two training rows, or fewer than 1% of them, have it. Otherwise,
                each category is a feature, and unknown categories raise an error.
            positive: The label of the positive class of two classes, such as ``"fraud"``, for AUC,
                F-scores, precision and recall. With :obj:`None`, it is the label 1 or True;
                without such a label, these metrics raise an error.

        Raises:
            TypeError: If ``class_weight`` is of a wrong type.
            ValueError: If an array or setting is wrong, or a class has no training sample.
        """
        _checks.check_choice("task", task, get_args(Task))
        _checks.check_choice("missing", missing, get_args(Missing))
        _checks.check_choice("rare", rare, get_args(Rare))
        is_of_classes = num_classes is not None or class_weight is not None
        if task == "regression" and is_of_classes:
            raise WrongValueError(
                "A regression has no num_classes and no class_weight. Omit them."
            )
        samples = {"": (x, y), "_val": (x_val, y_val), "_test": (x_test, y_test)}
        inputs = {}
        labels = {}
        classes: Sequence[Any] = ()
        are_labels = task == "classification"
        for s, (of_x, of_y) in samples.items():
            if of_x is not None or of_y is not None:
                _arrays.check_samples(s, of_x, of_y)
            if of_x is not None or not s:
                labels[s] = _arrays.read_targets(s, of_x, of_y, are_labels=are_labels)
                inputs[s] = of_x
        if are_labels:
            labels, classes = _arrays.encoded(labels, num_classes)
        n = len(labels[""])
        n_test = _splits.split_size("test_size", test_size, n, is_given="_test" in labels)
        n_val = _splits.split_size(
            "validation_size", validation_size, n, is_given="_val" in labels
        )
        sizes = [n_test, n_val]
        _arrays.check_is_aligned("groups", groups, "x", x)
        _arrays.check_is_aligned("sample_weight", sample_weight, "x", x)
        group = None
        if groups is not None:
            group = _splits.checked_groups(groups, n)
        weights = {"class_weight": class_weight, "sample_weight": sample_weight}
        impute = missing == "impute"
        layout = Preprocessing()
        if rare == "other":
            layout = Preprocessing(others=())
        draw = _Draw(inputs, labels, sizes, group, classes, weights, impute, layout)
        fields = draw.fields(seed)
        if num_classes is None:
            _arrays.check_trained(fields["y_train"], classes)
        is_refit = impute or fields["preprocessing"].others is not None
        if is_refit or group is not None or fields["weight_train"] is not None:
            # A redraw needs missing values, rare categories, weights and groups, which the splits
            # do not contain.
            fields["draw"] = draw.kept(fields["preprocessing"])
        fields["drawn"] = tuple(s for s in _SPLITS[1:] if f"_{s}" not in labels)
        if not isinstance(classes, range):
            fields["classes"] = tuple(classes) or None
        num_classes = len(classes) or None
        dataset = cls(name, num_classes=num_classes, positive=positive, **fields)
        if dataset.duplicates:
            message = "Dataset %r has %s: drop duplicates, or keep them in one split by groups."
            repeated = duplicates.in_words(dataset.duplicates)
            logger.warning(message, name, repeated)
        return dataset

    def redrawn(self, seed: int) -> Self:
        """Return the data set with other splits of the same sizes, stratified by label.

        Only splits that were drawn at random are redrawn. Class weights, imputed values and rare
        categories are computed again from the new training part. Weights stay with their samples,
        and groups stay together. A column of categories keeps its number of features. If more
        categories are frequent than before, the least frequent categories count as rare.

        Args:
            seed: Seed of the draw, 0 or more.
        """
        if self.draw is not None:
            fields = self.draw.fields(seed)
            return dataclasses.replace(self, origin=None, **fields)
        splits = ("train", *self.drawn)
        x = np.concatenate([getattr(self, f"x_{split}") for split in splits])
        labels = [getattr(self, f"y_{split}") for split in splits]
        y = np.concatenate(labels)
        ends = np.cumsum([*map(len, labels)])
        order = _splits.stratified_order(y, seed)
        parts = np.split(order, ends[:-1])
        changed = dict[str, Any](origin=None)
        for split, part in zip(splits, parts, strict=True):
            rows = np.sort(part)
            changed[f"x_{split}"] = x[rows]
            changed[f"y_{split}"] = y[rows]
        return dataclasses.replace(self, **changed)

"""Recognize a function that redraws the split of its data, by the source of what it calls.

A split is redrawn if the returned value depends on rows that were drawn, by the seed or without
one, and the draw has other parts, such as those that train. That a fitted model depends on them is
no such dependence. Functions of libraries are known by their names. If that is unclear, or a
function has no source, it counts as one that redraws.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from adnn_optuna.engine.split_instructions import seems_to_split
from adnn_optuna.engine.value_flow import (
    CHANCE,
    GENERATORS,
    NONE,
    Call,
    Flow,
    Label,
    Labels,
    Value,
    complement,
    element,
    labels_of,
    mixed,
    selecting,
)

# Functions of libraries, by what they do with rows or random numbers.
_SPLIT = re.compile(r"split|folds?$|^cv$", re.IGNORECASE)
_SPLIT_IF_SHUFFLED = re.compile(r"^(?!Repeated).*Folds?$")
_CUT = {"split", "array_split", "hsplit", "vsplit", "rsplit", "tensor_split", "chunk"}
_DRAW = {"permutation", "permuted", "shuffle", "sample", "randperm", "choice", "choices"}
_DRAW |= {"resample"}
_DRAW_MASK = {"random", "rand", "integers", "randint", "binomial"}
_SORT = {"argsort", "sorted", "sort", "sort_values"}
_CROSS_VALIDATE = re.compile(r"^cross_val|_curve$|^permutation_test_score$")
_EXCLUDE = {"drop", "delete", "setdiff1d", "difference", "logical_not", "invert"}
_SELECT = {"select", "Subset", "SubsetRandomSampler", "gather", "compress", "isin", "in1d"}
_SELECT |= {"nonzero", "flatnonzero", "argwhere", "where"}
_BEGIN = {"take", "skip", "head", "tail", "islice"}
_MIX = {"dot", "matmul", "einsum", "tensordot", "outer", "mean", "sum"}
_FIT = re.compile(r"(partial_)?fit(_\w+)?|train(_(model|network|step|epoch|on_batch))?")
_SCORE = re.compile("score|result|history|loss|metric")
_SEED = re.compile("(manual_)?seed(_all|_everything)?|set_(random_)?seed")
# Of Python.
_SIZE = {"len", "range", "isinstance", "print"}
_ADD = {"append", "add", "extend", "insert", "update"}
_ITERATE = {"list", "tuple", "iter", "tqdm", "reversed"}

_RANDOM_STATES = ("random_state", "seed", "generator", "rng", "key")
_LIBRARIES = ("numpy", "random", "torch", "tensorflow")


def redrawn_split(function: Callable[..., Any], seeds: Iterable[str]) -> str:
    """Return the call that redraws a function's split, with its line; empty if there is none.

    ``seeds`` are those of its parameters that are seeds.
    """
    seed = Value(frozenset({Label("the seed", "numbers")}))
    flow, value = _Splits(), Value()
    try:
        value = flow.follow(function, [], dict.fromkeys(seeds, seed))
    except Exception:  # noqa: BLE001 - attributes of a user's objects may raise anything.
        flow.is_exhausted = True
    if flow.is_exhausted:
        value = flow.of_unknown_source(function, NONE)
    for source, kind, _, is_fitted in sorted(value.labels):
        is_part = kind in ("order", "mixed") and len(flow.parts.get(source, ())) > 1
        if (kind in ("split", "pieces") or is_part) and not is_fitted:
            return source
    return ""


class _Splits(Flow):
    """Follows a function, and knows what libraries do with rows and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._generators: dict[str, Labels] = {}  # The seeds of global ones, by their library.

    def of_unknown_source(self, function: Callable[..., Any], labels: Labels) -> Value:
        """Return a split if the function seems to draw one."""
        if seems_to_split(function, _is_split, _SPLIT_IF_SHUFFLED.match, _DRAW, _DRAW_MASK):
            labels |= {Label(getattr(function, "__name__", "its code"), "split")}
        return Value(labels)

    def attribute(self, base: Value, name: str) -> Value:
        """Return an attribute; scores of a fitted model depend on the rows that it was fitted."""
        if base.target is not None:
            return super().attribute(base, name)
        if name in ("shape", "size", "ndim", "dtype"):
            return Value()
        return Value(_of_scores(base.labels) if _SCORE.search(name) else base.labels)

    def called(self, call: Call) -> Value:
        """Return the value of a call; a user's class is fitted as those of libraries are."""
        if call.name in ("fit", "partial_fit") and len(call.args) > 1:
            return self._fitted(call)
        return super().called(call)

    def of_library(self, call: Call) -> Value:
        """Return the value of a call, by the name of its function; it may call what is passed."""
        if labels := self._of_passed_functions(call):
            call = call._replace(keywords={**call.keywords, "": Value(labels)})
        rules = (self._of_python, self._of_iterables, self._seeding, self._of_rows, self._drawn)
        for rule in rules:
            if (value := rule(call)) is not None:
                return value
        return self._unknown(call)

    def _of_passed_functions(self, call: Call) -> Labels:
        """Return the labels of what functions return, such as a key, or an own way to split."""
        labels, passed = NONE, Value(call.labels)
        for value in (*call.args, *call.keywords.values()):
            function = value.target
            if function is not None and not self.is_followed(function):
                function = self.attribute(value, "split").target
            if self.is_followed(function):
                labels |= self.follow(function, [passed] * 3, {}).labels
        return labels

    def _of_python(self, call: Call) -> Value | None:
        name, args = call.name, call.args
        if name in _SIZE:
            return Value()
        if name in _ADD and isinstance(call.node.func, ast.Attribute):
            labels = labels_of([*args, *call.keywords.values()])
            sources = {label.source for label in labels}
            condition = self.under_conditions()
            self.note(frozenset(each for each in condition if each.source not in sources))
            self.add(call.node.func.value, labels | condition)
            return Value()
        if name in ("set", "frozenset"):
            return Value(call.labels, kind="set")
        return None

    def _of_iterables(self, call: Call) -> Value | None:
        name, args = call.name, call.args
        if name in _ITERATE and args:
            return args[0]
        if name == "zip":
            return Value(call.labels, items=dict(enumerate(map(element, args))), kind="zip")
        if name == "enumerate" and args:
            return Value(call.labels, items={0: Value(), 1: element(args[0])}, kind="zip")
        if name == "next" and args:
            return element(args[0])
        return None

    def _seeding(self, call: Call) -> Value | None:
        """Seed a generator, or all global ones of a library."""
        if not _SEED.fullmatch(call.name):
            return None
        numbers = _numbers(labels_of([*call.args, *call.keywords.values()]))
        library = _library(call)
        is_global = library or call.receiver.target is not None
        if isinstance(call.node.func, ast.Attribute) and not is_global:
            self.add(call.node.func.value, numbers, instead=True)
            return Value(numbers)
        for each in [library] if library else _LIBRARIES:
            self._generators[each] = numbers
        return Value()

    def _of_rows(self, call: Call) -> Value | None:
        """Return the value of a call that selects or cuts rows that were drawn before."""
        name, labels = call.name, call.labels
        passed = labels_of([*call.args, *call.keywords.values()])
        if name in _EXCLUDE:
            labels = call.receiver.labels | self.note(selecting(complement(passed)))
        elif name in _SELECT:
            self.note(frozenset(each for each in selecting(passed) if each.part))
            labels = call.receiver.labels | selecting(passed)
        elif name in _BEGIN:
            labels = self.part(labels, f".{name}({', '.join(map(ast.unparse, call.node.args))})")
        elif name in _CUT:
            labels = frozenset(each.of_kind("pieces", "order") for each in labels)
        elif name in _MIX:
            labels = mixed(labels)
        elif _CROSS_VALIDATE.search(name):
            labels = _split(labels)
        else:
            return None
        return Value(labels)

    def _drawn(self, call: Call) -> Value | None:
        """Return the value of a call that draws rows."""
        name, source = call.name, f"{ast.unparse(call.node.func)} in line {call.node.lineno}"
        rows = frozenset(each for each in call.labels if each.kind != "numbers")
        if name in _SORT and _numbers(call.labels):
            order = frozenset({Label(source, "order")})
            if name == "sort" and isinstance(call.node.func, ast.Attribute):
                self.add(call.node.func.value, order)  # In its place.
            return Value(rows | order)
        if name in _DRAW and self._randomness(call):
            order = frozenset({Label(source, "order")})
            if name == "shuffle" and call.args and "random_state" not in call.keywords:
                self.add(call.node.args[0], order)  # In its place.
            return Value(rows | order)
        is_split = _is_split(name)
        is_split |= "validation_split" in call.keywords and "seed" in call.keywords
        if not is_split and not _constant(call, "oob_score"):
            return None
        shuffles = _constant(call, "shuffle")
        if shuffles is False or (shuffles is None and _SPLIT_IF_SHUFFLED.match(name)):
            return Value(_split(rows) | {Label(source, "kept")})
        return Value(_split(rows) | {Label(source, "split" if self._randomness(call) else "kept")})

    def _unknown(self, call: Call) -> Value:
        """Return the value of any other call."""
        if _FIT.fullmatch(call.name):
            return self._fitted(call)
        labels = call.labels
        numbers = _numbers(labels)
        if (library := _library(call)) and not numbers:
            numbers = self._generators.get(library, CHANCE)
        if not call.args and not call.keywords:
            if call.name in ("default_rng", *GENERATORS):
                numbers = CHANCE
            if _SCORE.search(call.name):
                labels = _of_scores(labels)
        if numbers:  # Other numbers than those that they follow from.
            source = f"{ast.unparse(call.node.func)} in line {call.node.lineno}"
            numbers = frozenset({Label(source, "numbers")})
        return Value((labels - _numbers(labels)) | numbers)

    def _fitted(self, call: Call) -> Value:
        """Return a fitted model, or what it returns of the rows that were passed."""
        labels = frozenset(each for each in call.labels if each.kind not in ("numbers", "kept"))
        if "validation_split" in call.keywords:
            labels = _split(labels)
        fitted = frozenset(each._replace(is_fitted=True) for each in self.note(labels))
        if isinstance(call.node.func, ast.Attribute):
            self.add(call.node.func.value, fitted, instead=True)
        else:
            for node in call.node.args:
                self.add(node, fitted)
        is_transform = call.name.startswith("fit_")
        return Value(fitted | (labels_of(call.args) if is_transform else NONE))

    def _randomness(self, call: Call) -> Labels:
        """Return the random numbers that a call draws by: its own, or a global generator's."""
        unset = {each.arg for each in call.node.keywords if ast.unparse(each.value) == "None"}
        for name in _RANDOM_STATES:
            if name in call.keywords and name not in unset:
                return _numbers(call.keywords[name].labels)
        if numbers := _numbers(call.labels):
            return numbers
        library = _library(call) or ("numpy" if _uses_numpy(call) else "")
        return self._generators.get(library, CHANCE) if library else NONE


def _is_split(name: str) -> bool:
    return bool(_SPLIT.search(name)) and name not in _CUT


def _numbers(labels: Labels) -> Labels:
    return frozenset(each for each in labels if each.kind == "numbers")


def _split(labels: Labels) -> Labels:
    """Return labels of drawn rows that are split again."""
    return frozenset(each.of_kind("split", "order", "pieces") for each in labels)


def _of_scores(labels: Labels) -> Labels:
    return frozenset(each._replace(is_fitted=False) for each in labels)


def _constant(call: Call, name: str) -> Any:
    """Return a constant argument; True for any other that is passed, None for none."""
    if name not in call.keywords:
        return None
    constant = call.keywords[name].target
    return constant if isinstance(constant, bool) else True


def _library(call: Call) -> str:
    """Return the library whose global generator a call draws from; empty if it does not."""
    function, text = call.function.target, ast.unparse(call.node.func)
    if (library := GENERATORS.get(type(getattr(function, "__self__", None)).__name__)) is not None:
        return library
    if re.fullmatch(r"torch[.\w]+", text) or call.name in ("randperm", "random_split"):
        return "torch"
    if re.fullmatch(r"tf[.\w]+", text):
        return "tensorflow"
    return ""


def _uses_numpy(call: Call) -> bool:
    """Return whether a function of scikit-learn or pandas draws from NumPy's generator."""
    function = call.function.target
    if str(getattr(function, "__module__", None)).startswith("sklearn"):
        return "random_state" in inspect.signature(function).parameters
    if call.name == "sample":
        return not {"frac", "n"}.isdisjoint(call.keywords)
    return re.search(r"ShuffleSplit$|Folds?$|^train_test_split$", call.name) is not None

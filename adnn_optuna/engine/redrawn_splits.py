"""Recognize a function that redraws the split of its data, by the source of what it calls.

A split is redrawn if the returned value depends on rows that were drawn, by the seed or without
one, and the draw has other parts, such as those that train. That a fitted model depends on them is
no such dependence. Functions of libraries are known by their names. If that is unclear, it counts
as redrawn; without source, if the function names something that draws or splits.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from adnn_optuna.engine.code_fingerprint import names_in
from adnn_optuna.engine.value_flow import (
    CHANCE,
    GENERATORS,
    NONE,
    Call,
    Flow,
    Label,
    Labels,
    Value,
    fitted,
    selecting,
)

# Functions of libraries, by what they do with rows or random numbers.
_SPLIT = re.compile(r"split|folds?$|^cv$", re.IGNORECASE)
_SPLIT_IF_SHUFFLED = re.compile(r"^(?!Repeated).*Folds?$")
_CUT = {"split", "array_split", "hsplit", "vsplit", "rsplit", "tensor_split", "chunk"}
_DRAW = {"permutation", "permuted", "shuffle", "sample", "randperm", "choice", "choices"}
_DRAW |= {"resample"}
_DRAW_NUMBERS = {"random", "rand", "integers", "randint", "binomial"}
_SORT = {"argsort", "sorted", "sort", "sort_values"}
_CROSS_VALIDATE = re.compile(r"^cross_val|_curve$|^permutation_test_score$")
_EXCLUDE = {"drop", "delete", "setdiff1d", "difference", "logical_not", "invert", "pop"}
_SELECT = {"select", "Subset", "SubsetRandomSampler", "gather", "compress", "isin", "in1d"}
_SELECT |= {"nonzero", "flatnonzero", "argwhere", "where"}
_BEGIN = {"take", "skip", "head", "tail", "islice"}
_FIT = re.compile(r"(partial_)?fit(_\w+)?|train(_(model|network|step|epoch|on_batch))?")
_SCORE = re.compile("score|result|history|loss|metric")
_SEED = re.compile("(manual_)?seed(_all|_everything)?|set_(random_)?seed")
_SIZE = {"len", "range", "isinstance", "print", "shape", "size", "ndim", "dtype"}
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
    for label in sorted(value.labels):
        is_part = len(flow.parts.get(label.source, ())) > 1
        if label.kind != "numbers" and is_part and not label.is_fitted:
            return label.source
    return ""


class _Splits(Flow):
    """Follows a function, and knows what libraries do with rows and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._generators: dict[str, Labels] = {}  # The seeds of global ones, by their library.

    def of_unknown_source(self, function: Callable[..., Any], labels: Labels) -> Value:
        """Return rows of a split if the function names something that draws or splits rows."""
        draws = _DRAW | _DRAW_NUMBERS
        if any(_is_split(name) or name in draws for name in names_in(function)):
            drawn = Label(getattr(function, "__name__", "its code"), "rows")
            labels |= self.note_both(frozenset({drawn}))
        return Value(labels)

    def attribute(self, base: Value, name: str) -> Value:
        """Return an attribute; scores of a fitted model depend on the rows that it was fitted."""
        if base.target is None and name in _SIZE:
            return Value()
        value = super().attribute(base, name)
        if base.target is None and _SCORE.search(name):
            return Value(frozenset(label._replace(is_fitted=False) for label in value.labels))
        return value

    def called(self, call: Call) -> Value:
        """Return the value of a call; a user's class is fitted as those of libraries are."""
        if call.name in ("fit", "partial_fit") and len(call.args) > 1:
            return self._fitted(call)
        return super().called(call)

    def of_library(self, call: Call) -> Value:
        """Return the value of a call, by the name of its function; it may call what is passed."""
        if labels := self._of_passed_functions(call):
            call = call._replace(keywords={**call.keywords, "": Value(labels)})
        rules = (self._of_python, self._seeding, self._of_rows, self._drawn)
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
        if name in _ADD and call.owner:
            sources = {label.source for label in call.passed}
            for condition in self._conditions:
                if sources.isdisjoint(label.source for label in condition.labels):
                    self.note_mask(condition)
            self.add(call.owner, call.passed | self.under_conditions())
            return Value()
        if name in ("set", "frozenset"):
            return Value(call.labels, form="set")
        if name in _ITERATE and args:
            return args[0]
        return None

    def _seeding(self, call: Call) -> Value | None:
        """Seed a generator, or all global ones of a library."""
        if not _SEED.fullmatch(call.name):
            return None
        numbers = _numbers(call.passed)
        library = _library(call)
        is_global = library or call.receiver.target is not None
        if call.owner and not is_global:
            self.add(call.owner, numbers, instead=True)
            return Value(numbers)
        for each in [library] if library else _LIBRARIES:
            self._generators[each] = numbers
        return Value()

    def _of_rows(self, call: Call) -> Value | None:
        """Return the value of a call that selects or cuts rows that were drawn before."""
        name, labels = call.name, call.labels
        if name in _EXCLUDE:
            labels = call.receiver.labels | self.note_both(selecting(call.passed))
            if name == "pop" and call.owner and call.passed:  # The others stay there.
                self.add(call.owner, labels)
        elif name in _SELECT:
            labels = call.receiver.labels | selecting(call.passed)
            for value in call.args:
                self.note_mask(value)
        elif name in _BEGIN:
            self.note(labels, name)
        elif _CROSS_VALIDATE.search(name) or (name in _CUT and not call.receiver.form):
            self._split_again(labels)
        else:
            return None
        return Value(labels)

    def _drawn(self, call: Call) -> Value | None:
        """Return the value of a call that draws rows."""
        name, source = call.name, f"{ast.unparse(call.node.func)} in line {call.node.lineno}"
        rows = call.labels - _numbers(call.labels)
        drawn = rows | {Label(source, "rows")}
        is_order = name in _DRAW and self._randomness(call)
        if is_order or (name in _SORT and _numbers(call.labels)):
            if name == "sort" and call.owner:
                self.add(call.owner, drawn)  # In its place.
            if name == "shuffle" and call.args and "random_state" not in call.keywords:
                self.add(call.node.args[0], drawn)
            return Value(drawn)
        if not _is_split(name):
            return None
        is_shuffled = not _SPLIT_IF_SHUFFLED.match(name)
        if "shuffle" in call.keywords:
            is_shuffled = call.keywords["shuffle"].target is not False
        if is_shuffled and self._randomness(call):
            return Value(self._split_again(drawn))
        return Value(self._split_again(rows), form="folds")

    def _unknown(self, call: Call) -> Value:
        """Return the value of any other call."""
        if _FIT.fullmatch(call.name):
            return self._fitted(call)
        numbers = _numbers(call.labels)
        labels = call.labels - numbers
        if (library := _library(call)) and not numbers:
            numbers = self._generators.get(library, CHANCE)
        if call.name in ("default_rng", *GENERATORS) and not call.args and not call.keywords:
            numbers = CHANCE
        if numbers:  # Other numbers than those that they follow from.
            source = f"{ast.unparse(call.node.func)} in line {call.node.lineno}"
            labels |= {Label(source, "numbers")}
        return Value(labels, form=call.receiver.form)

    def _fitted(self, call: Call) -> Value:
        """Return a fitted model, or what it returns of the rows that were passed."""
        rows = call.labels - _numbers(call.labels)
        if "validation_split" in call.keywords:
            self._split_again(rows)
        if call.owner:
            self.add(call.owner, fitted(rows), instead=True)
        return Value(fitted(rows))

    def _split_again(self, labels: Labels) -> Labels:
        """Note that rows, or drawn ones again, are split."""
        return self.note_both(labels - _numbers(labels))

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
    return frozenset(label for label in labels if label.kind == "numbers")


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
    if call.name == "sample":
        return not {"frac", "n"}.isdisjoint(call.keywords)
    is_sklearn = str(getattr(function, "__module__", None)).startswith("sklearn")
    return is_sklearn and "random_state" in inspect.signature(function).parameters

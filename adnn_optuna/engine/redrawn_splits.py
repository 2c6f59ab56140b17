"""Decide from the source of a function of a seed whether it redraws the split of its data.

Each value in the source gets labels. The labels are followed to the returned value, also through
other functions of the user. A call that draws rows is a label, such as ``"train_test_split in line
9"``. Other labels are for random numbers, for folds in order, and for objects of a user's class
(the class's name and a dot). A function redraws its split if two conditions are met. First, the
returned value depends on drawn rows. Second, the code also selects the other rows of the same
draw. A fitted model does not count as dependent on its rows. Functions of libraries are recognized
by name.
"""

import ast
import functools
import inspect
import itertools
import linecache
import re
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from adnn_optuna.engine.code_fingerprint import UserFunction, methods_of, names_in

_MAX_CALLS = 500
_PACKAGE = str(Path(__file__).parents[1])
_LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"), "<frozen", _PACKAGE)

# Patterns of names of library functions. All functions of a pattern treat rows or random numbers
# in the same way.
_SPLIT = re.compile(r"\w*([Ss]plit\w*|[Ff]olds?)")
_SPLIT_IN_ORDER = re.compile(r"(?!Repeated)\w*Folds?|TimeSeriesSplit|PredefinedSplit")
_SPLIT_AGAIN = re.compile(r"cross_val\w+|\w+_curve|permutation_test_score|([dhv]|array_)?split")
_DRAW_ROWS = re.compile("permut(ation|ed)|shuffle|(re)?sample|randperm|choices?|argsort")
_DRAW_NUMBERS = re.compile("rand|random|integers|randint|binomial")
_EXCLUDE = re.compile("drop|delete|setdiff1d|difference|logical_not|invert")
_CUT = re.compile("take|skip|head|tail|islice")
_ADD = re.compile("append|add|extend|insert|update")
_FIT = re.compile(r"(partial_)?fit|train(_\w+)?")
_OF_ROWS = re.compile(r"predict\w*|score|evaluate|transform|decision_function")
_SEED = re.compile("(manual_)?seed(_all|_everything)?|set_(random_)?seed")
_SIZE = re.compile("len|range|isinstance|shape|size|ndim")
_RANDOM_STATE = re.compile("random_state|seed|generator|rng|key")
_GENERATOR = re.compile("default_rng|Generator|RandomState|Random")
# Library functions that use a global generator.
_GLOBAL = re.compile(r"(torch|tf|(np\.|numpy\.)?random)\.\w+|\w+|.*\.\w+(_split|Fold|Split)")

Labels = frozenset[str]
_NONE: Labels = frozenset()
_NUMBERS = frozenset({"random numbers"})  # Seeded and unseeded random numbers.
_SELECTED = frozenset({"rows selected by random numbers"})
_FOLDS = frozenset({"folds in order"})
_Function = ast.FunctionDef | ast.Lambda


def redrawn_split(function: UserFunction, seeds: Iterable[str]) -> str:
    """Return the call that redraws a function's split, with its line, or an empty text.

    ``seeds`` are the names of the seed parameters. If the source is missing or too long, it is
    enough that the function's code names a draw or a split.
    """
    flow = _Flow()
    try:
        labels = flow.follow(function, dict.fromkeys(seeds, _NUMBERS))
    except Exception:  # noqa: BLE001 - attributes of a user's objects may raise anything.
        labels = flow.named_draw(function)
    for label in sorted(labels & flow.parts.keys()):
        if len(flow.parts[label]) > 1:
            return label
    return ""


class _Call(NamedTuple):
    """A call with the labels of its function and arguments."""

    node: ast.Call
    text: str  # The source of the called function, such as "np.random.choice".
    name: str
    receiver: Labels
    args: Sequence[Labels]
    keywords: Mapping[str, Labels]

    @property
    def passed(self) -> Labels:
        """The labels of all arguments."""
        return _NONE.union(*self.args, *self.keywords.values())

    @property
    def owner(self) -> ast.expr | None:
        """The expression whose method is called, if the function is a method."""
        return getattr(self.node.func, "value", None)

    @property
    def splits_in_order(self) -> bool:
        """Whether the call splits rows in order. Folds with a random state are shuffled."""
        text = ast.unparse(self.node)
        if "shuffle=True" in text or "random_state" in text:
            return False
        return "shuffle=False" in text or bool(_SPLIT_IN_ORDER.fullmatch(self.name))


class _Flow:
    """Follows labels through source code. ``parts`` maps a draw's label to its selected rows."""

    def __init__(self) -> None:
        self.parts = {label: set[str]() for label in _SELECTED}
        self._functions: dict[str, Sequence[_Function]] = {}
        self._names: dict[str, str] = {}
        self._learned = set[tuple[str, int]]()
        self._attributes = defaultdict[str, Labels](frozenset)
        self._variables = defaultdict[str, Labels](frozenset)
        self._returned = self._condition = _NONE
        self._global_numbers = _NUMBERS
        self._n_calls = 0

    def follow(self, function: Any, arguments: Mapping[str, Labels]) -> Labels:
        """Return the labels of a function's returned value."""
        while isinstance(function, functools.partial):
            function = function.func
        self._learn("object", getattr(function, "__self__", function))
        function = inspect.unwrap(getattr(function, "__func__", function))
        if not isinstance(function, FunctionType):
            function = type(function).__call__
        self._learn("", function)
        (tree,) = self._functions[""]  # This raises an error if one line has several lambdas.
        return self._run(tree, {**arguments, "self": frozenset({"object."})})

    def named_draw(self, function: UserFunction) -> Labels:
        """Return a label of a redrawn split if a function's code names a draw of rows."""
        for name in names_in(function):
            if any(names.fullmatch(name) for names in (_SPLIT, _DRAW_ROWS, _DRAW_NUMBERS)):
                code = getattr(function, "__name__", "its code")
                return self._drawn(
                    f"{name} in {code} or a function that it calls, whose source cannot be read "
                    "(save a def in a file)",
                    "",
                    "~",
                )
        return _NONE

    def _drawn(self, label: str, *parts: str) -> Labels:
        self.parts.setdefault(label, set()).update(parts)
        return frozenset({label})

    def _note(self, labels: Labels, *parts: str) -> None:
        """Store the selected parts of draws: by default, both the drawn and the other rows."""
        for label in _selecting(labels) & self.parts.keys():
            self.parts[label].update(parts or ("", "~"))

    # Functions

    def _learn(self, name: str, value: Any) -> None:
        """Store the source of a user's function, or of all functions in a class or a module."""
        if (name, id(value)) in self._learned:
            return
        self._learned.add((name, id(value)))
        value = inspect.getattr_static(value, "__wrapped__", value)
        if isinstance(value, FunctionType | type):
            self._names[name] = value.__name__
        if isinstance(value, FunctionType):
            if _is_users(value.__code__.co_filename):
                self._functions[name] = trees = _trees_of(value)
                nodes = itertools.chain(*map(ast.walk, trees))
                names = {node.id for node in nodes if isinstance(node, ast.Name)}
                namespace = {**value.__globals__, **inspect.getclosurevars(value).nonlocals}
                self._learn_all("", {each: namespace[each] for each in names & namespace.keys()})
        elif isinstance(value, ModuleType):
            if _is_users(str(getattr(value, "__file__", None))):
                self._learn_all(f"{name}.", vars(value))
        else:
            cls = value if isinstance(value, type) else type(value)
            for base in reversed(cls.__mro__):
                self._learn_all(f"{name}.", methods_of(base))
            if isinstance(value, type) and (fields := getattr(cls, "__match_args__", ())):
                values = ", ".join(fields)
                attributes = ", ".join(f"self.{each}" for each in fields)
                text = f"def __init__(self, {values}): {attributes} = {values}"
                self._functions[f"{name}.__init__"] = _functions_in((text,))

    def _learn_all(self, prefix: str, namespace: Mapping[str, Any]) -> None:
        for name, value in namespace.items():
            self._learn(prefix + name, value)

    def _run(self, tree: _Function, arguments: Mapping[str, Labels]) -> Labels:
        """Return the labels of a function's returned value. The function has its own variables."""
        self._n_calls += 1
        if self._n_calls > _MAX_CALLS:
            raise RecursionError
        before = self._variables, self._returned, self._condition
        self._variables = defaultdict(frozenset, arguments)
        self._returned = self._condition = _NONE
        if isinstance(tree, ast.Lambda):
            returned = self._labels(tree.body)
        else:
            self._labels_of(tree.body)
            returned = self._returned
        self._variables, self._returned, self._condition = before
        return returned

    # Statements and expressions

    def _labels_of(self, nodes: Iterable[ast.AST]) -> Labels:
        return _NONE.union(*map(self._labels, nodes))

    def _labels(self, node: ast.AST) -> Labels:  # noqa: C901, PLR0911, PLR0912 - one case each.
        """Return the labels of an expression, or assign labels to a statement's variables."""
        match node:
            case ast.Name():
                return self._variables[node.id]
            case ast.Attribute():
                if _SIZE.fullmatch(node.attr):
                    return _NONE
                return self._labels(node.value) | self._attributes[node.attr]
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self._call(node)
            case ast.FunctionDef():
                self._functions[node.name] = [node]
                self._variables[node.name] = self._run(node, self._variables)
                return _NONE
            case ast.Assign():
                for target in node.targets:
                    self._assign(target, node.value)
                return _NONE
            case ast.AugAssign():
                labels = self._labels(node.value)
                # Gradient descent subtracts steps, which do not count.
                if not isinstance(node.op, ast.Sub):
                    self._bind(node.target, labels | self._condition)
                return _NONE
            case ast.NamedExpr() | ast.AnnAssign(value=ast.expr()):
                self._bind(node.target, self._labels_of(ast.iter_child_nodes(node)))
            case ast.For() | ast.comprehension():
                self._bind(node.target, self._labels(node.iter))
                self._labels_of(getattr(node, "body", ()))  # The body is followed again below.
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                self._labels_of(node.generators)
            case ast.If():
                before = self._condition
                self._condition = _selecting(self._labels(node.test))
                if node.orelse:
                    self._note(self._condition)
                self._labels_of([*node.body, *node.orelse])
                self._condition = before
                return _NONE
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    module = sys.modules.get(getattr(node, "module", alias.name))
                    value = getattr(module, alias.name, module)
                    self._learn(alias.asname or alias.name, value)
            case ast.Return() | ast.Yield():
                self._returned |= self._labels_of(ast.iter_child_nodes(node))
                return _NONE
        labels = self._labels_of(ast.iter_child_nodes(node))
        if isinstance(node, ast.comprehension):
            return _selecting(labels)
        operator = node.ops[0] if isinstance(node, ast.Compare) else getattr(node, "op", None)
        is_difference = isinstance(operator, ast.Sub) and "set(" in ast.unparse(node)
        if is_difference or isinstance(operator, ast.Invert | ast.Not | ast.NotIn):
            self._note(labels)
        elif isinstance(operator, ast.NotEq):  # For example, all other folds.
            self._note(labels & _NUMBERS)
        return labels

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for inner_target, inner_value in zip(target.elts, value.elts, strict=False):
                self._assign(inner_target, inner_value)
            return
        labels = self._labels(value)
        if isinstance(target, ast.Subscript) and not labels:  # For example, mask[rows] = False.
            self._note(self._labels(target.slice))
        self._bind(target, labels)

    def _bind(self, target: ast.AST, labels: Labels) -> None:
        """Add labels to all variables of a target."""
        match target:
            case ast.Name():
                self._variables[target.id] |= labels
            case ast.Attribute():
                self._attributes[target.attr] |= labels
            case ast.Subscript():
                self._bind(target.value, labels | _selecting(self._labels(target.slice)))
            case ast.Tuple() | ast.List() | ast.Starred():
                for each in ast.iter_child_nodes(target):
                    self._bind(each, labels)

    def _subscript(self, node: ast.Subscript) -> Labels:
        base = self._labels(node.value)
        rows = node.slice
        if isinstance(rows, ast.Tuple) and rows.elts:
            rows = rows.elts[0]
        text = ast.unparse(rows)
        if text == ":":  # These are all rows, perhaps of some columns.
            return base
        index = _selecting(self._labels(rows))
        if base >= _FOLDS:
            self._note(index)
        # This is a cut that is not random.
        if isinstance(rows, ast.Slice) and not (base and index):
            self._note((base | index) - _NUMBERS, text)
        return base | index

    # Calls

    def _call(self, node: ast.Call) -> Labels:
        text = ast.unparse(node.func)
        name = self._names.get(text, text.rpartition(".")[2])
        args = [self._labels(each) for each in node.args]
        spread = [each for each in node.args if isinstance(each, ast.Starred)]
        keywords = {"**": self._labels_of(spread)}
        for keyword in node.keywords:
            if ast.unparse(keyword.value) != "None":
                keywords[keyword.arg or "**"] = self._labels(keyword.value)
        call = _Call(node, text, name, self._labels(node.func), args, keywords)
        keys = [text, f"{text}.__init__", f"{text}.__call__"]
        keys += [label + (name if call.owner else "__call__") for label in call.receiver]
        followed = [key for key in keys if self._functions.get(key)]
        if not followed or (_FIT.fullmatch(name) and len(args) > 1):
            return self._of_library(call)
        labels = _NONE
        if call.owner is None:
            labels = call.receiver
        for key in followed:
            holder = frozenset({key.removesuffix(key.rpartition(".")[2])})
            for tree in self._functions[key]:
                labels |= self._run(tree, {**_arguments(tree, call), "self": holder})
            if key.endswith(".__init__"):
                labels |= holder
        return labels

    def _of_library(self, call: _Call) -> Labels:  # noqa: C901, PLR0911, PLR0912 - one rule each.
        """Return the labels of a library call by the function's name."""
        name = call.name
        labels = call.receiver | call.passed
        rows = labels - _NUMBERS
        source = f"{call.text} in line {call.node.lineno}"
        if _SIZE.fullmatch(name):
            return _NONE
        if _ADD.fullmatch(name) and call.owner:
            self._bind(call.owner, call.passed | self._condition)
            return _NONE
        if _SEED.fullmatch(name):
            if call.owner and not _GLOBAL.fullmatch(call.text):
                self._bind(call.owner, call.passed)
            else:
                self._global_numbers = call.passed
            return call.passed
        if _GENERATOR.fullmatch(name):
            if call.node.args or call.node.keywords:
                return call.passed
            return _NUMBERS
        if _EXCLUDE.fullmatch(name):
            self._note(call.passed)
        elif _CUT.fullmatch(name):
            self._note(labels, name)
        elif _SPLIT_AGAIN.fullmatch(name):
            self._note(rows)
        elif _DRAW_ROWS.fullmatch(name) and self._is_random(call):
            rows |= self._drawn(source)
            if name == "shuffle" and call.args and "random_state" not in call.keywords:
                self._bind(call.node.args[0], rows)
            return rows
        elif _SPLIT.fullmatch(name):
            if call.splits_in_order or not self._is_random(call):
                return rows | _FOLDS
            self._note(rows)
            return rows | self._drawn(source, "", "~")
        elif _FIT.fullmatch(name):
            if "validation_split" in call.keywords:
                self._note(rows)
                return rows
            return call.receiver | call.keywords.get("validation_data", _NONE)
        elif _OF_ROWS.fullmatch(name) and call.args:
            return call.passed
        elif _DRAW_NUMBERS.fullmatch(name) and self._is_random(call):
            return rows | _NUMBERS
        return labels

    def _is_random(self, call: _Call) -> bool:
        """Return whether a call uses random numbers that are passed or from a global generator."""
        for name, labels in call.keywords.items():
            if _RANDOM_STATE.fullmatch(name):
                return labels >= _NUMBERS
        numbers = call.receiver | call.passed
        is_of_frame = call.name == "sample" and not call.keywords.keys().isdisjoint(("frac", "n"))
        if is_of_frame or _GLOBAL.fullmatch(call.text):
            numbers |= self._global_numbers
        return numbers >= _NUMBERS


def _arguments(tree: _Function, call: _Call) -> dict[str, Labels]:
    """Return the labels of a function's parameters in a call."""
    parameters = (*tree.args.posonlyargs, *tree.args.args)
    names = [each.arg for each in parameters if each.arg not in ("self", "cls")]
    by_place = zip(names, call.args, strict=False)
    arguments = dict.fromkeys(names, call.keywords["**"])
    arguments |= {**dict(by_place), **call.keywords}
    for spread in (tree.args.vararg, tree.args.kwarg):
        if spread:
            arguments[spread.arg] = call.passed
    return arguments


def _selecting(labels: Labels) -> Labels:
    """Return the labels of rows that values with these labels select."""
    if labels >= _NUMBERS:
        return (labels - _NUMBERS) | _SELECTED
    return labels


# The source of functions


def _is_users(file: str) -> bool:
    return not any(part in file for part in _LIBRARIES)


def _trees_of(function: FunctionType) -> list[_Function]:
    """Return the syntax trees of functions with the same name and first line as a function."""
    trees = []
    code = function.__code__
    for node in _functions_in(tuple(linecache.getlines(code.co_filename))):
        name = getattr(node, "name", "<lambda>")
        lines = [node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))]
        if (min(lines), name) == (code.co_firstlineno, code.co_name):
            trees.append(node)
    return trees


@functools.lru_cache(maxsize=64)
def _functions_in(lines: tuple[str, ...]) -> list[_Function]:
    """Return all functions of a file, or of a cell of a notebook."""
    tree = ast.parse("".join(lines))
    return [node for node in ast.walk(tree) if isinstance(node, _Function)]

"""Recognize a function of a seed that redraws the split of its data, by its source.

It calls a splitter of a library, such as ``train_test_split``, with a random state that follows
from the seed. Or it draws rows or numbers by such a state, and selects some of what it drew as
well as all others. So may a function of the user's that is called with the seed. Of each function,
the lines are read in no order. What the returned value depends on is not followed, so a split
within the training examples counts, too.
"""

import ast
import functools
import inspect
import linecache
import re
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

from adnn_optuna.engine.code_fingerprint import UserFunction, methods_of, names_in

_PACKAGE = str(Path(__file__).parents[1])
_LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"), "<frozen", _PACKAGE)

# Functions of libraries, by what they do with rows or random numbers.
_SPLIT = re.compile(r"(?!array_)\w+_split|\w*(Folds?|Split)")
_SPLIT_IN_ORDER = re.compile(r"(?!Repeated)\w*Folds?|TimeSeriesSplit|PredefinedSplit")
_DRAW = re.compile(
    "permut(ation|ed)|shuffle|(re)?sample|randperm|choices?|rand|random|integers|randint|binomial"
)
_EXCLUDE = re.compile(r"drop|delete|setdiff1d|difference|logical_not|invert|split|cross_val\w+")
_SEED = re.compile("(manual_)?seed(_all|_everything)?|set_(random_)?seed")
_SIZE = re.compile("len|range|isinstance|shape|size|ndim")
_RANDOM_STATE = re.compile("random_state|seed|generator|rng|key")
# What draws by a global generator.
_GLOBAL = re.compile(r"(torch|tf|(np\.|numpy\.)?random)\.\w+|\w+|.*\.\w+(_split|Fold|Split)")

Marks = frozenset[str]
_NONE: Marks = frozenset()
_GENERATOR = "global generator"
_SEEDED = frozenset({"may follow from the seed"})
_DRAWN = frozenset({"is drawn by it"})
_Function = ast.FunctionDef | ast.Lambda


def redrawn_split(function: UserFunction, seeds: Iterable[str]) -> str:
    """Return the call that redraws a function's split, with its line; empty if there is none.

    ``seeds`` are those of its parameters that are seeds. If there is no source, a function that
    names a draw or a split counts as one that redraws it.
    """
    try:
        calls = [code.redrawn_split() for code in _codes(function, {*seeds})]
    except Exception:  # noqa: BLE001 - attributes of a user's objects may raise anything.
        calls = []
    if calls:
        return next(filter(None, calls), "")
    for name in names_in(function):
        if _SPLIT.fullmatch(name) or _DRAW.fullmatch(name):
            return str(getattr(function, "__name__", "its code"))
    return ""


def _codes(function: UserFunction, seeds: set[str]) -> list["_Code"]:
    """Return the code of a function, and of the functions that it uses; none without a source."""
    sources = [*_sources(function, set())]
    called = set[str]()
    codes: list[_Code] = []
    n_called = -1
    while n_called < len(called):
        n_called = len(called)
        codes = []
        for place, (tree, namespace) in enumerate(sources):
            seeded = seeds
            if place:
                seeded = _needed(tree, seeds, called)
            codes.append(_Code(tree, namespace, seeded, called))
    return codes


class _Code:
    """The source of a function, with marks of its names."""

    def __init__(
        self, tree: _Function, namespace: Mapping[str, Any], seeds: set[str], called: set[str]
    ) -> None:
        self._nodes = [*ast.walk(tree)]
        self._namespace = namespace
        self._called = called  # Functions that are called with what follows from the seed.
        self._marks = defaultdict[str, Marks](frozenset)
        self._marks |= dict.fromkeys(seeds, _SEEDED)
        # A generator that nothing seeds draws other numbers each time.
        if not any(self._calls(node, _SEED) for node in self._nodes):
            self._marks[_GENERATOR] = _SEEDED
        n_marks = -1
        while n_marks != sum(map(len, self._marks.values())):
            n_marks = sum(map(len, self._marks.values()))
            self._known = dict[ast.AST, Marks]()  # Of expressions, in this round.
            for node in self._nodes:
                self._read(node)

    def redrawn_split(self) -> str:
        """Return the call that redraws the split; empty if there is none."""
        draws: list[Any] = [node for node in self._nodes if self._draws(node)]
        splits = [call for call in draws if self._calls(call, _SPLIT)]
        for node in self._nodes:
            # The seed tells which of several folds in order.
            if isinstance(node, ast.Subscript) and self._of(node.slice) >= _SEEDED:
                splits += [part for part in ast.walk(node.value) if self._calls(part, _SPLIT)]
        if not splits and self._selects_others():
            splits = draws
        for call in splits:
            return f"{ast.unparse(call.func)} in line {call.lineno}"
        return ""

    def _name(self, node: ast.AST) -> str:
        """Return the name of what a node calls, or of the attribute that it is."""
        match node:
            case ast.Call():
                return self._name(node.func)
            case ast.Attribute():
                return node.attr
            case ast.Name():  # Under which it may have been imported.
                return str(getattr(self._namespace.get(node.id), "__name__", node.id))
        return ""

    def _calls(self, node: ast.AST, names: re.Pattern[str]) -> bool:
        return isinstance(node, ast.Call) and names.fullmatch(self._name(node)) is not None

    def _read(self, node: ast.AST) -> None:
        """Mark the names to which a node gives a value."""
        match node:
            case ast.Assign():
                for target in node.targets:
                    self._mark(target, self._of(node.value))
            case ast.NamedExpr() | ast.AnnAssign(value=ast.expr()):
                self._mark(node.target, self._of(node.value))
            case ast.For() | ast.comprehension():
                self._mark(node.target, self._of(node.iter))
            case ast.FunctionDef():
                self._marks |= dict.fromkeys(_needed(node, set(), self._called), _SEEDED)
            case ast.Call():
                if self._any(_arguments(node)) >= _SEEDED:
                    self._called.add(self._name(node))
                    if self._calls(node, _SEED):
                        self._marks[_GENERATOR] = _SEEDED
                        self._mark(_owner(node), _SEEDED)
                if self._name(node) == "shuffle" and self._draws(node):
                    self._mark(ast.Tuple(node.args), _DRAWN)

    def _mark(self, target: ast.AST, marks: Marks) -> None:
        match target:
            case ast.Name():
                self._marks[target.id] |= marks
            case ast.Tuple() | ast.List() | ast.Starred():
                for part in ast.iter_child_nodes(target):
                    self._mark(part, marks)

    def _of(self, node: Any) -> Marks:
        """Return the marks of an expression: those of all names and draws in it, except sizes."""
        if node not in self._known:
            self._known[node] = self._read_expression(node)
        return self._known[node]

    def _read_expression(self, node: Any) -> Marks:
        name = self._name(node)
        marks = self._any(ast.iter_child_nodes(node))
        match node:
            case ast.Name():
                return self._marks[node.id]
            case ast.Attribute() | ast.Call() if _SIZE.fullmatch(name):
                return _NONE
            case ast.Attribute():
                if _RANDOM_STATE.fullmatch(name):
                    return marks | _SEEDED
                return marks - _SEEDED
        if self._draws(node):
            return marks | _DRAWN
        return marks

    def _any(self, nodes: Iterable[ast.AST]) -> Marks:
        return _NONE.union(*map(self._of, nodes))

    def _draws(self, call: Any) -> bool:
        """Return whether a call of a library splits, or draws rows or numbers, by the seed."""
        is_known = self._calls(call, _SPLIT) or self._calls(call, _DRAW)
        name = self._name(call)
        if not is_known or _is_users_function(self._namespace.get(name)):
            return False
        text = ast.unparse(call)
        is_shuffled = "shuffle=True" in text or "random_state" in text
        is_in_order = "shuffle=False" in text or _SPLIT_IN_ORDER.fullmatch(name)
        if is_in_order and not is_shuffled:
            return False
        for keyword in call.keywords:
            if _RANDOM_STATE.fullmatch(str(keyword.arg)) and ast.unparse(keyword.value) != "None":
                return self._of(keyword.value) >= _SEEDED
        generators = self._any([_owner(call), *call.args[:1]])
        if _GLOBAL.fullmatch(ast.unparse(call.func)):
            generators |= self._marks[_GENERATOR]
        return generators >= _SEEDED

    def _selects_others(self) -> bool:
        """Return whether the code selects what is not among drawn rows, or cuts them in parts."""
        excluded = [part for node in self._nodes for part in self._excluded(node)]
        if self._any(excluded) >= _DRAWN:
            return True
        cuts = defaultdict[str, set[str]](set)
        for node in self._nodes:
            match node:
                case ast.Subscript(value=rows, slice=ast.Slice() as ends):
                    text = ast.unparse(ends)
                case ast.Call(func=ast.Attribute(value=rows, attr="take" | "skip" as text)):
                    pass
                case _:
                    continue
            if self._of(rows) >= _DRAWN:
                cuts[ast.unparse(rows)].add(text)
        return any(len(texts) > 1 for texts in cuts.values())

    def _excluded(self, node: ast.AST) -> list[ast.expr]:  # noqa: PLR0911 - one case each.
        """Return the rows of which a node selects all others, if it does so."""
        match node:
            case ast.UnaryOp(op=ast.Invert()) | ast.Compare(ops=[ast.NotIn()]):
                return [node]
            case ast.BinOp(op=ast.Sub()) if "set(" in ast.unparse(node):
                return [node.right]
            case ast.Subscript(slice=ast.Compare(ops=[ast.NotEq()])):  # Such as another fold.
                return [node.slice]
            case ast.Assign(targets=[ast.Subscript() as rows], value=ast.Constant(value=False)):
                return [rows.slice]
            case ast.If(orelse=[_, *_]) if ast.unparse(node).count(".append(") > 1:
                return [node.test]
            case ast.Call():
                has_split = any(keyword.arg == "validation_split" for keyword in node.keywords)
                if has_split or self._calls(node, _EXCLUDE):
                    return _arguments(node)
        return []


def _needed(tree: _Function, seeds: set[str], called: set[str]) -> set[str]:
    """Return the parameters of a function that may follow from the seed, as it is called."""
    name = getattr(tree, "name", "__call__")
    if name not in called and not name.startswith("__"):
        return set()
    parameters = [parameter.arg for parameter in tree.args.args]
    n_needed = len(parameters) - len(tree.args.defaults)
    needed = {*parameters[:n_needed]} | seeds.intersection(parameters)
    return needed - {"self", "cls"}


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _owner(call: ast.Call) -> ast.AST:
    """Return the object whose method is called; a constant if it is none."""
    return getattr(call.func, "value", ast.Constant(None))


# The source


def _sources(value: Any, learned: set[int]) -> Iterator[tuple[_Function, dict[str, Any]]]:
    """Yield the functions of the user's that a value is, has or uses, and the names they know."""
    value = inspect.getattr_static(value, "__wrapped__", value)
    if id(value) in learned:
        return
    learned.add(id(value))
    members: list[Any] = []
    if isinstance(value, functools.partial):
        members = [value.func]
    elif isinstance(value, MethodType):
        members = [value.__func__, value.__self__]
    elif _is_users_function(value):
        namespace = {**value.__globals__, **inspect.getclosurevars(value).nonlocals}
        for tree in _trees_of(value):
            yield tree, namespace
            names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
            members += [namespace[name] for name in names if name in namespace]
    elif not isinstance(value, FunctionType):
        cls = value if isinstance(value, type) else type(value)
        methods = dict[str, Any]()
        for base in reversed(cls.__mro__):
            methods |= methods_of(base)
        if cls is not value:  # It was made before.
            methods.pop("__init__", None)
        members = [*methods.values()]
    for member in members:
        yield from _sources(member, learned)


def _is_users_function(value: Any) -> bool:
    if not isinstance(value, FunctionType):
        return False
    return not any(part in value.__code__.co_filename for part in _LIBRARIES)


def _trees_of(function: FunctionType) -> list[_Function]:
    """Return the syntax trees of the functions that begin in a function's line."""
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

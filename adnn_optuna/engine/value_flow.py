"""Follow users' functions through their source, with labels that say which draw a value follows.

Functions of a user are followed into; what a library's function returns, a subclass says. A value
has all labels that it may have: both branches run, and each loop runs twice.
"""

import ast
import builtins
import functools
import inspect
import linecache
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Literal, NamedTuple

_MAX_DEPTH, _MAX_CALLS = 10, 500
_OWN = str(Path(__file__).parents[1])
_LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"), "<frozen", _OWN)

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Label(NamedTuple):
    """How a value follows from a draw: as random numbers, or as rows that these select."""

    source: str  # The call that draws.
    kind: Literal["numbers", "rows"]
    is_fitted: bool = False  # A model depends on the rows; its predictions are of others.


Labels = frozenset[Label]
NONE: Labels = frozenset()
CHANCE: Labels = frozenset({Label("an unseeded generator", "numbers")})
GENERATORS = {"Generator": "numpy", "RandomState": "numpy", "Random": "random"}


@dataclass(frozen=True)
class Value:
    """A value: its labels, the object that it is, if that is known, and the values in it.

    ``form`` is ``"set"`` or ``"folds"``; of a mask, it is its condition.
    """

    labels: Labels = NONE
    target: Any = None
    items: Mapping[Any, "Value"] = field(default_factory=dict)
    form: str = ""

    @property
    def all_items(self) -> Mapping[Any, "Value"]:
        """The values in it; those of a dictionary of the program, too."""
        if not isinstance(self.target, dict):
            return self.items
        return {key: value_of(item) for key, item in self.target.items()}


class Call(NamedTuple):
    """A call with the values of its arguments."""

    node: ast.Call
    name: str
    receiver: Value
    function: Value
    args: Sequence[Value]
    keywords: Mapping[str, Value]

    @property
    def owner(self) -> ast.expr | None:
        """The expression whose method is called, if it is a method."""
        return self.node.func.value if isinstance(self.node.func, ast.Attribute) else None

    @property
    def passed(self) -> Labels:
        """The labels of its arguments."""
        return labels_of([*self.args, *self.keywords.values()])

    @property
    def labels(self) -> Labels:
        """The labels of all that it depends on."""
        return self.receiver.labels | self.function.labels | self.passed


@dataclass(eq=False)
class _Instance:
    """An object that a followed function makes of a user's class."""

    cls: type


@dataclass
class _Frame:
    """The variables of a call; all other names are looked up outside of it."""

    outside: Callable[[str], Value]
    variables: dict[str, Value] = field(default_factory=dict)
    returned: list[Value] = field(default_factory=list)

    def look_up(self, name: str) -> Value:
        return self.variables[name] if name in self.variables else self.outside(name)


class _Local(NamedTuple):
    """A function that a followed function defines."""

    node: FunctionNode
    frame: _Frame


def labels_of(values: Iterable[Value]) -> Labels:
    """Return the labels of all values."""
    return frozenset(label for value in values for label in value.labels)


def selecting(labels: Labels) -> Labels:
    """Return the labels of rows that are selected by values; random numbers select some."""
    return frozenset(label._replace(kind="rows") for label in labels)


def fitted(labels: Labels) -> Labels:
    """Return the labels of a model that is fitted to rows."""
    return frozenset(label._replace(is_fitted=True) for label in labels)


def value_of(what: Any) -> Value:
    """Return the value of an object of the program, such as a generator that others draw from."""
    if isinstance(what, Value):
        return what
    return Value(CHANCE if type(what).__name__ in GENERATORS else NONE, what)


def _sequence(values: Sequence[Value]) -> Value:
    return Value(labels_of(values), items=dict(enumerate(values)))


def _union(values: Sequence[Value]) -> Value:
    return values[0] if len(values) == 1 else Value(labels_of(values))


class Flow:
    """Follows functions; notes which parts of each draw are selected."""

    def __init__(self) -> None:
        self.parts: dict[str, set[str]] = {}
        self.is_exhausted: bool = False  # Too many calls were followed to go on.
        self._frame = _Frame(lambda _: Value())
        self._attributes: dict[tuple[int, str], tuple[Any, Value]] = {}
        self._conditions: list[Value] = []
        self._depth = self._n_calls = 0

    def of_library(self, call: Call) -> Value:
        """Return the value of a call of a function that is not a user's."""
        raise NotImplementedError

    def of_unknown_source(self, function: Callable[..., Any], labels: Labels) -> Value:
        """Return the value of a call of a user's function without source."""
        raise NotImplementedError

    def note(self, labels: Labels, *parts: str) -> Labels:
        """Note which parts of draws are selected."""
        for label in labels:
            self.parts.setdefault(label.source, set()).update(parts)
        return labels

    def note_both(self, labels: Labels) -> Labels:
        """Note that rows and all others are selected."""
        return self.note(labels, "", "~")

    def note_mask(self, value: Value) -> Labels:
        """Return the labels of the rows that a value selects; note them if it is a mask."""
        return self.note(selecting(value.labels), *filter(None, [value.form]))

    # Functions

    def follow(self, function: Any, args: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
        """Return the value of a call of a user's function."""
        called = function
        while isinstance(function, functools.partial | MethodType):
            if isinstance(function, MethodType):
                args, function = [value_of(function.__self__), *args], function.__func__
            else:
                bound = {name: value_of(value) for name, value in function.keywords.items()}
                args, keywords = [*map(value_of, function.args), *args], {**bound, **keywords}
                function = function.func
        labels = labels_of([*args, *keywords.values()])
        self.is_exhausted |= self._n_calls == _MAX_CALLS
        if self._depth == _MAX_DEPTH or self.is_exhausted:
            return Value(labels)
        if isinstance(function, _Local):
            return self._run(function.node, function.frame.look_up, args, keywords)
        followed = _function_of(function)
        tree = _tree_of(followed.__code__, followed.__code__.co_filename) if followed else None
        if followed is None or tree is None:
            return self.of_unknown_source(called, labels)
        if not isinstance(inspect.unwrap(function), FunctionType):
            args = [value_of(function), *args]
        outside = functools.partial(_named_object, followed)
        return self._run(tree, lambda name: value_of(outside(name)), args, keywords)

    def _run(
        self,
        tree: FunctionNode,
        outside: Callable[[str], Value],
        args: Sequence[Value],
        keywords: Mapping[str, Value],
    ) -> Value:
        """Run a syntax tree, and return all that it returns."""
        before = self._frame, self._conditions
        self._frame, self._conditions = frame, _ = _Frame(outside), []
        self._depth += 1
        self._n_calls += 1
        signature = tree.args
        names = [each.arg for each in (*signature.posonlyargs, *signature.args)]
        optional = names[len(names) - len(signature.defaults) :]
        optional += [each.arg for each in signature.kwonlyargs]
        defaults = zip(optional, (*signature.defaults, *signature.kw_defaults), strict=True)
        frame.variables = dict.fromkeys(names, Value())
        frame.variables |= {name: self.value(node) for name, node in defaults if node}
        frame.variables |= {**dict(zip(names, args, strict=False)), **keywords}
        if signature.vararg:
            frame.variables[signature.vararg.arg] = _sequence(args[len(names) :])
        if signature.kwarg:
            frame.variables[signature.kwarg.arg] = Value(labels_of(keywords.values()))
        if isinstance(tree, ast.Lambda):
            frame.returned.append(self.value(tree.body))
        else:
            self._statements(tree.body)
        self._frame, self._conditions = before
        self._depth -= 1
        return _union(frame.returned)

    # Statements

    def _statements(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self._statement(node)

    def _statement(self, node: ast.AST) -> None:  # noqa: C901, PLR0912 - one case for each.
        match node:
            case ast.Assign():
                value = self.value(node.value)
                for target in node.targets:
                    self.bind(target, value)
            case ast.AnnAssign(value=ast.expr() as assigned):
                self.bind(node.target, self.value(assigned))
            case ast.AugAssign():
                labels = self.value(node.value).labels | self.under_conditions()
                changed: ast.expr = node.target
                if isinstance(node.op, ast.Sub):  # Such as a step of gradient descent.
                    labels = fitted(labels)
                    while isinstance(changed, ast.Subscript):
                        changed = changed.value
                self.add(changed, labels)
            case ast.For() | ast.AsyncFor():
                for _ in range(2):  # What an iteration assigns, the next one reads.
                    self.bind(node.target, Value(self.value(node.iter).labels))
                    self._statements(node.body)
            case ast.If() | ast.While():
                condition = self.value(node.test)
                for form, nodes in ((condition.form or "if", node.body), ("~", node.orelse)):
                    self._conditions.append(replace(condition, form=form))
                    self._statements(nodes)
                    self._conditions.pop()
            case ast.Return(value=ast.expr() as returned):
                self._frame.returned.append(self.value(returned))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._frame.variables[node.name] = Value(target=_Local(node, self._frame))
            case ast.ImportFrom() | ast.Import():
                for alias in node.names:
                    module = sys.modules.get(getattr(node, "module", None) or alias.name)
                    what = value_of(getattr(module, alias.name, module))
                    self._frame.variables[alias.asname or alias.name] = what
            case ast.expr():
                self.value(node)
            case _:
                self._statements(ast.iter_child_nodes(node))

    def under_conditions(self) -> Labels:
        """Return the labels of the rows for which the present statement runs."""
        return selecting(labels_of(self._conditions))

    def bind(self, target: ast.expr, value: Value) -> None:
        """Assign a value to a target."""
        match target:
            case ast.Name():
                self._frame.variables[target.id] = value
            case ast.Tuple() | ast.List():
                for i, each in enumerate(target.elts):
                    self.bind(each, value.items.get(i, Value(value.labels)))
            case ast.Starred():
                self.bind(target.value, value)
            case ast.Attribute():
                holder = self.value(target.value).target
                if holder is None:
                    self.add(target.value, value.labels)
                else:  # It is kept, or another object might get its identity.
                    self._attributes[id(holder), target.attr] = holder, value
            case ast.Subscript():
                index = selecting(self.value(target.slice).labels)
                if not value.labels:  # Such as False in a mask: the others are selected.
                    self.note_both(index)
                self.add(target.value, value.labels | index)

    def add(self, target: ast.expr, labels: Labels, *, instead: bool = False) -> None:
        """Add labels to the value of a target, or put them in place of its own."""
        if isinstance(target, ast.Name | ast.Attribute):
            before = self.value(target)
            labels = labels if instead else before.labels | labels
            self.bind(target, replace(before, labels=labels, items={}))
        elif isinstance(target, ast.Subscript):
            self.add(target.value, labels | selecting(self.value(target.slice).labels))
        elif isinstance(target, ast.IfExp):
            condition = self.note_both(selecting(self.value(target.test).labels))
            for branch in (target.body, target.orelse):
                self.add(branch, labels | condition)

    # Expressions

    def value(self, node: ast.expr) -> Value:  # noqa: C901, PLR0911, PLR0912 - one case for each.
        """Return the value of an expression."""
        match node:
            case ast.Name():
                return self._frame.look_up(node.id)
            case ast.Constant():
                return Value(target=node.value)
            case ast.Attribute():
                return self.attribute(self.value(node.value), node.attr)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self._call(node)
            case ast.Lambda():
                return Value(target=_Local(node, self._frame))
            case ast.Tuple() | ast.List():
                return _sequence([self.value(each) for each in node.elts])
            case ast.Dict():
                values = [*map(self.value, node.values)]
                pairs = zip(node.keys, values, strict=True)
                items = {key.value: each for key, each in pairs if isinstance(key, ast.Constant)}
                return Value(labels_of(values), items=items)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node)
            case ast.NamedExpr():
                self.bind(node.target, self.value(node.value))
                return self.value(node.target)
            case ast.UnaryOp(op=ast.Invert() | ast.Not()):
                return Value(self.note_both(self.value(node.operand).labels))
            case ast.Yield(value=ast.expr() as yielded):
                self._frame.returned.append(self.value(yielded))
                return Value()
        children = (each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))
        values = [*map(self.value, children)]
        labels, form = labels_of(values), ""
        if isinstance(node, ast.Compare):
            form = ast.unparse(node)
        is_set = isinstance(node, ast.BinOp) and values[1].form == "set"
        if is_set or (isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.NotIn)):
            self.note_both(values[1].labels)
        return Value(labels, form=form)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> Value:
        selected = NONE
        for each in node.generators:
            self.bind(each.target, Value(self.value(each.iter).labels))
            for condition in map(self.value, each.ifs):
                selected |= self.note_mask(condition)
        children = (each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))
        return Value(selected | labels_of([*map(self.value, children)]))

    def _subscript(self, node: ast.Subscript) -> Value:
        base, rows = self.value(node.value), node.slice
        if isinstance(rows, ast.Tuple) and rows.elts:
            rows = rows.elts[0]
            if ast.unparse(rows) == ":":  # Columns are no rows.
                return Value(base.labels)
        key = self.value(rows)
        if isinstance(key.target, str | int) and key.target in base.all_items:
            return base.all_items[key.target]
        index = self.note_mask(key)
        if not isinstance(rows, ast.Slice):
            if base.form == "folds":
                self.note_both(index)
        elif not (base.labels and index):  # Else what is drawn is cut at random.
            self.note(base.labels | index, ast.unparse(rows))
        return Value(base.labels | index)

    def attribute(self, base: Value, name: str) -> Value:
        """Return an attribute of a value, without running code."""
        holder = base.target
        if (id(holder), name) in self._attributes:
            return self._attributes[id(holder), name][1]
        if isinstance(holder, ModuleType):
            return value_of(getattr(holder, name, None))
        cls = holder.cls if isinstance(holder, _Instance) else holder
        what = inspect.getattr_static(cls, name, None)
        getter = getattr(what, "fget", getattr(what, "func", None))
        if self.is_followed(getter):  # Of a property, or a cached one.
            return self.follow(getter, [base], {})
        if isinstance(what, staticmethod | classmethod):
            what = what.__get__(None, cls)
        elif isinstance(what, FunctionType) and not isinstance(holder, type):
            what = functools.partial(what, base)
        value = value_of(what)
        return replace(value, labels=value.labels | base.labels)

    # Calls

    def _call(self, node: ast.Call) -> Value:
        receiver, name = Value(), ""
        if isinstance(node.func, ast.Attribute):
            name, receiver = node.func.attr, self.value(node.func.value)
            function = self.attribute(receiver, name) if receiver.target is not None else Value()
        else:
            function = self.value(node.func)
            name = node.func.id if isinstance(node.func, ast.Name) else ""
        name = str(getattr(function.target, "__name__", name))  # It may be imported as another.
        args = list[Value]()
        for each in node.args:
            if isinstance(each, ast.Starred):
                value = self.value(each.value)
                args += value.items.values() or [Value(value.labels)] * 8  # So many at most.
            else:
                args.append(self.value(each))
        keywords = dict[str, Value]()
        for keyword in node.keywords:
            value = self.value(keyword.value)
            keywords[keyword.arg or "**"] = value
            if keyword.arg is None:
                keywords |= {str(key): each for key, each in value.all_items.items()}
        return self.called(Call(node, name, receiver, function, args, keywords))

    def called(self, call: Call) -> Value:
        """Return the value of a call."""
        function = call.function.target
        if isinstance(function, type) and _is_users(function):
            return self._made(call, function)
        if self.is_followed(function):
            return self.follow(function, call.args, call.keywords)
        return self.of_library(call)

    def is_followed(self, function: Any) -> bool:
        """Return whether a function is followed into."""
        return isinstance(function, _Local) or _function_of(function) is not None

    def _made(self, call: Call, cls: type) -> Value:
        """Return a new object of a user's class."""
        instance = _Instance(cls)
        names = getattr(cls, "__match_args__", ())  # Of data classes and named tuples.
        values = {**dict(zip(names, call.args, strict=False)), **call.keywords}
        for name in names:
            self._attributes[id(instance), name] = instance, values.get(name, Value())
        initialize = inspect.getattr_static(cls, "__init__")
        if names:
            return Value(target=instance)
        if not self.is_followed(initialize):
            return Value(call.labels, instance)
        self.follow(initialize, [Value(target=instance), *call.args], call.keywords)
        return Value(target=instance)


# Of functions, the source and the names


def _is_users(what: Any) -> bool:
    """Return whether a function, a class, or the class of an object is of no library."""
    module = getattr(what, "__module__", None) or "builtins"
    file = str(getattr(sys.modules.get(module), "__file__", None) or "")
    return module != "builtins" and not any(part in file for part in _LIBRARIES)


def _function_of(what: Any) -> FunctionType | None:
    """Return the function that is run if an object is called, if it is a user's."""
    while isinstance(what, functools.partial | MethodType):
        what = what.func if isinstance(what, functools.partial) else what.__func__
    what = inspect.unwrap(what) if callable(what) else what
    if not isinstance(what, FunctionType | type) and _is_users(what):
        what = inspect.getattr_static(type(what), "__call__", None)
    return what if isinstance(what, FunctionType) and _is_users(what) else None


def _named_object(function: FunctionType, name: str) -> Any:
    """Return what a name is in a function, apart from its own variables."""
    if name in function.__code__.co_freevars:
        cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
        try:
            return cell.cell_contents
        except ValueError:  # It is still empty.
            return None
    return function.__globals__.get(name, getattr(builtins, name, None))


@functools.lru_cache(maxsize=1024)
def _tree_of(code: CodeType, file: str) -> FunctionNode | None:
    """Return the syntax tree of a function's code in a file; :obj:`None` without its source.

    Equal codes of several files are equal keys of the cache, so the file is one, too.
    """
    trees = []
    for node in ast.walk(_module(tuple(linecache.getlines(file)))):
        if isinstance(node, FunctionNode):
            name = getattr(node, "name", "<lambda>")
            lines = [node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))]
            if (min(lines), name) == (code.co_firstlineno, code.co_name):
                trees.append(node)
    return trees[0] if len(trees) == 1 else None  # It may be another lambda of the line.


@functools.lru_cache(maxsize=64)
def _module(lines: tuple[str, ...]) -> ast.Module:
    try:
        return ast.parse("".join(lines))
    except SyntaxError:
        return ast.Module([], [])

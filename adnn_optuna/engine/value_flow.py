"""Follow users' functions through their source, with labels that say which draw a value follows.

Functions of a user are followed into; what a library's function returns, a subclass says.
"""

import ast
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import FunctionType, MethodType, ModuleType
from typing import Any, Literal, NamedTuple

from adnn_optuna.engine import source_trees

_MAX_DEPTH, _MAX_CALLS = 10, 500
_LONGEST_PART = 80

Kind = Literal["numbers", "order", "pieces", "split", "kept", "mixed"]
"""Random numbers, or drawn rows: in an order, in pieces, or in the two parts of a split. A kept
split has one that is not drawn. Rows are mixed in a number that follows from several."""


class Label(NamedTuple):
    """How a value follows from a draw: the call that draws, and which part of its rows."""

    source: str
    kind: Kind
    part: str = ""
    is_fitted: bool = False  # A model depends on the rows; its predictions are of others.

    def of_kind(self, kind: Kind, *kinds: Kind) -> "Label":
        """Return a label of a kind in place of others."""
        return self._replace(kind=kind) if self.kind in kinds else self


Labels = frozenset[Label]
NONE: Labels = frozenset()
CHANCE: Labels = frozenset({Label("an unseeded generator", "numbers")})
GENERATORS = {"Generator": "numpy", "RandomState": "numpy", "Random": "random"}


@dataclass(frozen=True)
class Value:
    """A value: its labels, the object that it is, if that is known, and the values in it."""

    labels: Labels = NONE
    target: Any = None
    items: Mapping[Any, "Value"] = field(default_factory=dict)
    kind: Literal["", "zip", "set"] = ""


class Call(NamedTuple):
    """A call with the values of its arguments."""

    node: ast.Call
    name: str
    receiver: Value
    function: Value
    args: Sequence[Value]
    keywords: Mapping[str, Value]

    @property
    def labels(self) -> Labels:
        """The labels of all that is passed."""
        values = (self.receiver, self.function, *self.args, *self.keywords.values())
        return labels_of(values)


@dataclass(eq=False)
class _Instance:
    """An object that a followed function makes of a user's class."""

    cls: type


class _Local(NamedTuple):
    """A function that a followed function defines."""

    node: source_trees.FunctionNode
    frame: "_Frame"


@dataclass
class _Frame:
    """The variables of a call; all other names are looked up outside of it."""

    outside: Callable[[str], Value]
    variables: dict[str, Value] = field(default_factory=dict)
    returned: list[Value] = field(default_factory=list)

    def look_up(self, name: str) -> Value:
        return self.variables[name] if name in self.variables else self.outside(name)


def labels_of(values: Iterable[Value]) -> Labels:
    """Return the labels of all values."""
    return frozenset(label for value in values for label in value.labels)


def selecting(labels: Labels) -> Labels:
    """Return the labels of rows that are selected by values; random numbers select some."""
    return frozenset(label.of_kind("order", "numbers") for label in labels)


def mixed(labels: Labels) -> Labels:
    """Return the labels of a number that follows from several rows."""
    return frozenset(label.of_kind("mixed", "order", "pieces") for label in labels)


def complement(labels: Labels) -> Labels:
    """Return the labels of the other rows."""
    return _with_part(labels, "~")


def sequence(values: Sequence[Value]) -> Value:
    """Return the value of a tuple or list."""
    return Value(labels_of(values), items=dict(enumerate(values)))


def element(value: Value) -> Value:
    """Return an item of an iterable."""
    if value.kind == "zip":
        return replace(value, kind="")
    return Value(frozenset(label.of_kind("order", "pieces") for label in value.labels))


def value_of(what: Any) -> Value:
    """Return the value of an object of the program, such as a generator that others draw from."""
    if isinstance(what, Value):
        return what
    return Value(CHANCE if type(what).__name__ in GENERATORS else NONE, what)


def _union(values: Sequence[Value]) -> Value:
    return values[0] if len(values) == 1 else Value(labels_of(values))


def _with_part(labels: Labels, text: str) -> Labels:
    parts = set()
    for label in labels:
        # What a loop repeats is the same part again.
        part = label.part.removesuffix("" if text == "~" else text)
        parts.add(label._replace(part=f"{part}{text}"[-_LONGEST_PART:]))
    return frozenset(parts)


class Flow:
    """Follows functions; notes which parts of each draw are used as rows."""

    def __init__(self) -> None:
        self.parts: dict[str, set[str]] = {}
        self.is_exhausted: bool = False  # Too many calls were followed to go on.
        self._frame = _Frame(lambda _: Value())
        self._attributes: dict[tuple[int, str], tuple[Any, Value]] = {}
        self._conditions: list[Labels] = []
        self._depth = self._n_calls = 0

    def of_library(self, call: Call) -> Value:
        """Return the value of a call of a function that is not a user's."""
        return Value(call.labels)

    def of_unknown_source(self, function: Callable[..., Any], labels: Labels) -> Value:
        """Return the value of a call of a user's function without source."""
        raise NotImplementedError

    # Labels

    def note(self, labels: Labels) -> Labels:
        """Note the parts of drawn rows that are used; beside a complement, what it is of."""
        for label in labels:
            if label.kind not in ("numbers", "kept", "mixed"):
                whole, *_ = label.part.rpartition("~") if "~" in label.part else (label.part,)
                self.parts.setdefault(label.source, set()).update({label.part, whole})
        return labels

    def part(self, labels: Labels, text: str) -> Labels:
        """Return the labels of a part of rows, and note it."""
        drawn = frozenset(each for each in labels if each.kind in ("numbers", "order", "pieces"))
        return (labels - drawn) | self.note(_with_part(drawn, text))

    def piece(self, labels: Labels, text: str) -> Labels:
        """Return the labels of an item, which is a part of its own if the whole has such parts."""
        whole = frozenset(
            each
            for each in labels
            if each.kind == "pieces" or (each.kind == "split" and not each.part)
        )
        items = frozenset(each for each in labels - whole if each.kind != "kept")
        return items | self.note(_with_part(whole, text))

    # Functions

    def follow(self, function: Any, args: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
        """Return the value of a call of a user's function."""
        self.is_exhausted |= self._n_calls == _MAX_CALLS
        if self._depth == _MAX_DEPTH or self.is_exhausted:
            return Value(labels_of([*args, *keywords.values()]))
        self._depth += 1
        self._n_calls += 1
        value = self._follow(function, args, keywords)
        self._depth -= 1
        return value

    def _follow(
        self, function: Any, args: Sequence[Value], keywords: Mapping[str, Value]
    ) -> Value:
        if isinstance(function, functools.partial):
            bound = {name: value_of(value) for name, value in function.keywords.items()}
            first = [*map(value_of, function.args)]
            return self.follow(function.func, [*first, *args], {**bound, **keywords})
        if isinstance(function, MethodType):
            return self.follow(function.__func__, [value_of(function.__self__), *args], keywords)
        if isinstance(function, _Local):
            return self._run(function.node, function.frame.look_up, args, keywords)
        followed = source_trees.function_of(function)
        labels = labels_of([*args, *keywords.values()])
        if followed is None:
            return Value(labels)
        if (
            tree := source_trees.tree_of(followed.__code__, followed.__code__.co_filename)
        ) is None:
            return self.of_unknown_source(followed, labels)
        if not isinstance(inspect.unwrap(function), FunctionType):
            args = [value_of(function), *args]
        outside = functools.partial(source_trees.named_object, followed)
        return self._run(tree, lambda name: value_of(outside(name)), args, keywords)

    def _run(
        self,
        tree: source_trees.FunctionNode,
        outside: Callable[[str], Value],
        args: Sequence[Value],
        keywords: Mapping[str, Value],
    ) -> Value:
        """Run a syntax tree, and return all that it returns."""
        before = self._frame, self._conditions
        self._frame, self._conditions = frame, _ = _Frame(outside), []
        names = [each.arg for each in (*tree.args.posonlyargs, *tree.args.args)]
        defaults = dict.fromkeys([*names, *(each.arg for each in tree.args.kwonlyargs)], Value())
        optional = names[len(names) - len(tree.args.defaults) :]
        pairs = [*zip(optional, tree.args.defaults, strict=True)]
        for each, default in zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True):
            if default is not None:
                pairs.append((each.arg, default))
        defaults |= {name: self.value(default) for name, default in pairs}
        frame.variables = {**defaults, **dict(zip(names, args, strict=False)), **keywords}
        if tree.args.vararg:
            frame.variables[tree.args.vararg.arg] = sequence(args[len(names) :])
        if tree.args.kwarg:
            frame.variables[tree.args.kwarg.arg] = Value(labels_of(keywords.values()))
        if isinstance(tree, ast.Lambda):
            frame.returned.append(self.value(tree.body))
        else:
            self._statements(tree.body)
        self._frame, self._conditions = before
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
                self.add(node.target, mixed(labels))
            case ast.For() | ast.AsyncFor():
                for _ in range(2):  # What an iteration assigns, the next one reads.
                    self.bind(node.target, element(self.value(node.iter)))
                    self._statements(node.body)
                self._statements(node.orelse)
            case ast.If() | ast.While():
                test = self.value(node.test)
                if test.target is not False:
                    self._under(test.labels, node.body)
                if test.target is not True:
                    self._under(complement(test.labels), node.orelse)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    value = self.value(item.context_expr)
                    if item.optional_vars:
                        self.bind(item.optional_vars, value)
                self._statements(node.body)
            case ast.Return(value=ast.expr() as returned):
                self._frame.returned.append(self.value(returned))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._frame.variables[node.name] = Value(target=_Local(node, self._frame))
            case ast.ImportFrom() | ast.Import():
                for alias in node.names:
                    self._frame.variables[alias.asname or alias.name] = _imported(node, alias)
            case ast.expr():
                self.value(node)
            case _:
                self._statements(ast.iter_child_nodes(node))

    def _under(self, condition: Labels, nodes: Iterable[ast.stmt]) -> None:
        self._conditions.append(condition)
        self._statements(nodes)
        self._conditions.pop()

    def under_conditions(self) -> Labels:
        """Return the labels of the rows for which the present statement runs."""
        return selecting(frozenset(each for labels in self._conditions for each in labels))

    def bind(self, target: ast.expr, value: Value) -> None:
        """Assign a value to a target."""
        match target:
            case ast.Name():
                self._frame.variables[target.id] = value
            case ast.Tuple() | ast.List():
                for each, item in zip(target.elts, self._unpacked(target, value), strict=True):
                    self.bind(each, item)
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
                    index = complement(index)
                self.add(target.value, value.labels | index)

    def _unpacked(self, target: ast.Tuple | ast.List, value: Value) -> Iterator[Value]:
        """Yield the values for the targets of an assignment to several."""
        count = len(target.elts)
        n_parts = 2 if count % 2 == 0 else count  # Training and test part of each array.
        used = [
            i % n_parts
            for i, each in enumerate(target.elts)
            if not (isinstance(each, ast.Name) and each.id.startswith("_"))
        ]
        for i in range(count):
            if i in value.items:
                yield value.items[i]
                continue
            labels = self.piece(value.labels, f"[{i % n_parts}]")
            if len({*used}) < 2 <= count:  # A sample; its other part is not used.
                labels = frozenset(each.of_kind("order", "split") for each in labels)
            yield Value(labels)

    def add(self, target: ast.expr, labels: Labels, *, instead: bool = False) -> None:
        """Add labels to the value of a target, or put them in place of its own."""
        if isinstance(target, ast.Name | ast.Attribute):
            before = self.value(target)
            labels = labels if instead else before.labels | labels
            self.bind(target, replace(before, labels=labels, items={}))
        elif isinstance(target, ast.Subscript):
            index = selecting(self.value(target.slice).labels)
            self.add(target.value, labels | frozenset(x.of_kind("pieces", "order") for x in index))
        elif isinstance(target, ast.IfExp):
            condition = selecting(self.value(target.test).labels)
            self.add(target.body, labels | self.note(condition))
            self.add(target.orelse, labels | self.note(complement(condition)))

    # Expressions

    def value(self, node: ast.expr) -> Value:  # noqa: C901, PLR0911, PLR0912 - one case for each.
        """Return the value of an expression."""
        match node:
            case ast.Name():
                return self._frame.look_up(node.id)
            case ast.Constant():
                return Value(target=node.value)
            case ast.Attribute():
                base = self.value(node.value)
                return self.attribute(base, node.attr)
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self._call(node)
            case ast.Lambda():
                return Value(target=_Local(node, self._frame))
            case ast.Tuple() | ast.List():
                return sequence([self.value(each) for each in node.elts])
            case ast.Dict():
                values = [*map(self.value, node.values)]
                pairs = zip(node.keys, values, strict=True)
                items = {key.value: each for key, each in pairs if isinstance(key, ast.Constant)}
                return Value(labels_of(values), items=items)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node)
            case ast.NamedExpr():
                value = self.value(node.value)
                self.bind(node.target, value)
                return value
            case ast.IfExp():
                branches = [self.value(node.body), self.value(node.orelse)]
                if any(branch.labels for branch in branches):
                    return _union(branches)
                return self.value(node.test)  # Such as 1 for a hit and 0 for a miss.
            case ast.UnaryOp(op=ast.Invert() | ast.Not()):
                return Value(complement(self.value(node.operand).labels))
            case ast.BinOp():
                return self._operation(node)
            case ast.Compare():
                return self._comparison(node)
            case ast.Yield(value=ast.expr() as yielded):
                self._frame.returned.append(self.value(yielded))
                return Value()
        children = (each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))
        return Value(labels_of([*map(self.value, children)]))

    def _operation(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        labels = left.labels | right.labels
        if isinstance(node.op, ast.Sub) and right.kind == "set":
            labels = left.labels | self.note(complement(right.labels))
        if isinstance(node.op, ast.MatMult):
            labels = mixed(labels)
        return Value(labels, kind=left.kind)

    def _comparison(self, node: ast.Compare) -> Value:
        values = [*map(self.value, (node.left, *node.comparators))]
        labels = labels_of(values)
        left, right = values[0].target, values[1].target
        if isinstance(left, str) and isinstance(right, str) and isinstance(node.ops[0], ast.Eq):
            return Value(labels, target=left == right)
        if isinstance(node.ops[0], ast.NotIn):
            return Value(complement(labels))
        if isinstance(node.ops[0], ast.In):
            return Value(labels)
        text = f"{type(node.ops[0]).__name__} {ast.unparse(node.comparators[0])}"
        return Value(_with_part(labels, text))

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> Value:
        before, selected = self._frame, NONE
        self._frame = _Frame(before.look_up)
        for each in node.generators:
            self.bind(each.target, element(self.value(each.iter)))
            for condition in each.ifs:
                selected |= self.note(selecting(self.value(condition).labels))
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        labels = labels_of([*map(self.value, parts)])
        self._frame = before
        return Value(labels | selected, kind="set" if isinstance(node, ast.SetComp) else "")

    def _subscript(self, node: ast.Subscript) -> Value:
        base, rows = self.value(node.value), node.slice
        if ast.unparse(node.value).endswith((".r_", ".c_")):  # NumPy's concatenations.
            return self.value(rows)
        if isinstance(rows, ast.Tuple) and rows.elts:
            rows = rows.elts[0]
            if ast.unparse(rows) == ":":  # Columns are no rows.
                return Value(base.labels)
        key = self.value(rows)
        items = base.target if isinstance(base.target, dict) else base.items
        if isinstance(key.target, str | int) and key.target in items:
            return value_of(items[key.target])
        index = selecting(key.labels)
        text = f"[{ast.unparse(rows)}]"
        if isinstance(rows, ast.Slice):
            if base.labels and index:  # What is drawn is cut at random, as in a genetic algorithm.
                return Value(base.labels | index)
            return Value(self.part(base.labels, text) | self.part(index, text))
        labels = base.labels
        if any(each.kind == "order" for each in index):  # Of the folds of a split, a drawn one.
            labels = frozenset(each.of_kind("split", "kept") for each in labels)
        self.note(frozenset(each for each in index if each.part))
        return Value(self.piece(labels, text) | index)

    def attribute(self, base: Value, name: str) -> Value:
        """Return an attribute of a value, without running code."""
        holder = base.target
        if (id(holder), name) in self._attributes:
            return self._attributes[id(holder), name][1]
        if holder is None:
            return Value(base.labels)
        if isinstance(holder, ModuleType):
            return value_of(getattr(holder, name, None))
        cls = holder.cls if isinstance(holder, _Instance) else holder
        what = inspect.getattr_static(cls, name, None)
        getter = getattr(what, "fget", getattr(what, "func", None))  # Also of a cached property.
        if isinstance(what, property | functools.cached_property) and self.is_followed(getter):
            return self.follow(getter, [base], {})
        if isinstance(what, staticmethod):
            what = what.__func__
        elif isinstance(what, classmethod):
            what = functools.partial(what.__func__, cls)
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
            value = self.value(each.value if isinstance(each, ast.Starred) else each)
            if not isinstance(each, ast.Starred):
                args.append(value)
            elif value.items:
                args += value.items.values()
            else:  # So many at most.
                args += [Value(value.labels)] * 8
        keywords = dict[str, Value]()
        for keyword in node.keywords:
            value = self.value(keyword.value)
            if keyword.arg is None:
                items = value.target if isinstance(value.target, dict) else value.items
                keywords |= {str(key): value_of(each) for key, each in items.items()}
                keywords["**"] = Value(value.labels)
            else:
                keywords[keyword.arg] = value
        return self.called(Call(node, name, receiver, function, args, keywords))

    def called(self, call: Call) -> Value:
        """Return the value of a call."""
        function = call.function.target
        if isinstance(function, type) and source_trees.is_users(function):
            return self._made(call, function)
        if self.is_followed(function):
            return self.follow(function, call.args, call.keywords)
        return self.of_library(call)

    def is_followed(self, function: Any) -> bool:
        """Return whether a function is followed into."""
        if isinstance(function, functools.partial):
            return self.is_followed(function.func)
        if isinstance(function, MethodType):
            return self.is_followed(function.__func__)
        return isinstance(function, _Local) or source_trees.function_of(function) is not None

    def _made(self, call: Call, cls: type) -> Value:
        """Return a new object of a user's class."""
        instance = _Instance(cls)
        fields = getattr(cls, "__match_args__", ())  # Of data classes and named tuples.
        values = {**dict(zip(fields, call.args, strict=False)), **call.keywords}
        for name in fields:
            self._attributes[id(instance), name] = instance, values.get(name, Value())
        made = Value(NONE if fields else call.labels, instance)
        initialize = inspect.getattr_static(cls, "__init__")
        if not fields and self.is_followed(initialize):
            made = replace(made, labels=NONE)
            self.follow(initialize, [made, *call.args], call.keywords)
        return made


def _imported(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> Value:
    """Return what is imported, if its module is loaded."""
    if isinstance(node, ast.ImportFrom):
        return value_of(getattr(sys.modules.get(node.module or ""), alias.name, None))
    return value_of(sys.modules.get(alias.name))

"""What a function without source seems to draw, by the instructions of its code."""

import dis
from collections.abc import Callable, Collection, Sequence
from numbers import Number
from types import CodeType, FunctionType
from typing import Any

from adnn_optuna.engine.source_trees import codes_of, named_object

_LOADS = {"LOAD_GLOBAL", "LOAD_ATTR", "LOAD_METHOD", "LOAD_NAME"}
_CALLS = {"CALL", "CALL_KW", "CALL_FUNCTION_EX"}
_SELECTS = {"COMPARE_OP", "BINARY_SUBSCR", "BINARY_SLICE"}
_GENERATORS = {"default_rng", "RandomState", "Random", "seed", "manual_seed"}


def seems_to_split(
    function: Callable[..., Any],
    is_split: Callable[[str], bool],
    needs_shuffle: Callable[[str], Any],
    draws: Collection[str],
    mask_draws: Collection[str],
) -> bool:
    """Return whether a function, or a user's function that it names, may draw a split.

    It calls what splits, other than with a constant seed; or what draws rows, other than by
    generators with constant seeds. What becomes of the rows is unknown. Random numbers draw rows
    only if code compares or indexes something.
    """
    has_draw, seeds_are_constant = False, list[bool]()
    for owner, code in codes_of(function):
        steps = [step for step in dis.get_instructions(code) if step.opname != "PUSH_NULL"]
        selects = not _SELECTS.isdisjoint(step.opname for step in steps)
        drawing = {*draws, *mask_draws} if selects else draws
        for i, step in enumerate(steps):
            name = _loaded_name(step, owner)
            if name in _GENERATORS and len(steps) > i + 2:
                has_one_argument = steps[i + 2].opname in {"PRECALL", "CALL"}
                seeds_are_constant.append(has_one_argument and _is_constant(steps[i + 1], owner))
            elif is_split(name):
                arguments = _arguments(steps[i + 1 :], code)
                state = arguments.get("random_state", arguments.get("seed"))
                is_shuffled = "shuffle" in arguments or not needs_shuffle(name)
                if is_shuffled and not (state and _is_constant(state, owner)):
                    return True
            is_module = steps[min(i + 1, len(steps) - 1)].opname in {"LOAD_ATTR", "LOAD_METHOD"}
            has_draw |= name in drawing and not is_module  # Such as `random`.
    is_kept = bool(seeds_are_constant) and all(seeds_are_constant)
    return has_draw and not is_kept


def _loaded_name(step: dis.Instruction, owner: FunctionType) -> str:
    """Return the name of what may be a function; empty for other instructions."""
    name = str(step.argval)
    if step.opname not in _LOADS or name.isupper():
        return ""
    if step.opname == "LOAD_GLOBAL":  # It may be imported as another.
        return str(getattr(named_object(owner, name), "__name__", name))
    return name


def _arguments(steps: Sequence[dis.Instruction], code: CodeType) -> dict[str, Any]:
    """Return the instructions that load the next call's named arguments."""
    for i, step in enumerate(steps):
        if step.opname == "KW_NAMES":
            names = code.co_consts[step.arg or 0]
            return dict(zip(names, steps[i - len(names) : i], strict=False))
        if step.opname == "CALL_KW":  # Its last argument are the names.
            names = steps[i - 1].argval
            return dict(zip(names, steps[i - 1 - len(names) : i - 1], strict=False))
        if step.opname in _CALLS:
            break
    return {}


def _is_constant(step: dis.Instruction, owner: FunctionType) -> bool:
    if step.opname == "LOAD_GLOBAL":
        return isinstance(owner.__globals__.get(step.argval), Number)
    return step.opname in {"LOAD_CONST", "LOAD_SMALL_INT"} and step.argval is not None

"""Rows of float32 as vectors inside compiled loops (numba): numba's own vectoriser stops at arrays that may overlap.

A row is given by its address. Each operation is of a fixed width, so that it becomes a few vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_FAST = ("fast",)
_ALIGNMENT = 64
FLOAT_BYTES = 4

# fastmath: sums may be added in another order; error_model: no look for a division by zero. Compiled at the first call
# of a process, some seconds in all: numba cannot keep functions that were made for a width.
COMPILE: dict[str, Any] = {"fastmath": True, "boundscheck": False, "error_model": "numpy", "nogil": True}


def _vector(width: int, element: ir.Type = _FLOAT) -> ir.VectorType:
    return ir.VectorType(element, width)


def _load(builder: ir.IRBuilder, address: ir.Value, width: int) -> ir.Value:
    return builder.load(builder.inttoptr(address, _vector(width).as_pointer()), align=FLOAT_BYTES)


def _store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    builder.store(
        value,
        builder.inttoptr(address, value.type.as_pointer()),
        align=value.type.element.width // 8 if isinstance(value.type.element, ir.IntType) else FLOAT_BYTES,
    )


def _splat(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    one = builder.insert_element(ir.Constant(_vector(width, value.type), ir.Undefined), value, ir.Constant(_INT, 0))
    zeros = ir.Constant(_vector(width, _INT), [0] * width)
    return builder.shuffle_vector(one, ir.Constant(one.type, ir.Undefined), zeros)


def _zeros(width: int) -> ir.Value:
    return ir.Constant(_vector(width), [0.0] * width)


def _at_least_zero(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", value, _zeros(width)), value, _zeros(width))


@cache
def add_scaled(width: int) -> Callable[[int, int, float], None]:
    """add_scaled(w)(y, x, g): y += g x."""

    @intrinsic
    def operation(_: Any, y: Any, x: Any, g: Any) -> Any:  # noqa: ANN401 (numba's types)
        def code(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:  # noqa: ANN401
            scaled = builder.fmul(_splat(builder, values[2], width), _load(builder, values[1], width), flags=_FAST)
            _store(builder, builder.fadd(_load(builder, values[0], width), scaled, flags=_FAST), values[0])
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.float32), code

    return operation


@cache
def positive_difference(width: int) -> Callable[[int, int, int], None]:
    """positive_difference(w)(y, a, b): y = max(a - b, 0)."""

    @intrinsic
    def operation(_: Any, y: Any, a: Any, b: Any) -> Any:  # noqa: ANN401
        def code(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:  # noqa: ANN401
            left, right = (_load(builder, value, width) for value in values[1:])
            _store(builder, _at_least_zero(builder, builder.fsub(left, right, flags=_FAST), width), values[0])
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp), code

    return operation


@cache
def positive_difference_bf16(width: int) -> Callable[[int, int, int], None]:
    """positive_difference_bf16(w)(y, a, b): y = max(a - b, 0), written as bfloat16 (rounded to nearest)."""

    @intrinsic
    def operation(_: Any, y: Any, a: Any, b: Any) -> Any:  # noqa: ANN401
        def code(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:  # noqa: ANN401
            left, right = (_load(builder, value, width) for value in values[1:])
            positive = _at_least_zero(builder, builder.fsub(left, right, flags=_FAST), width)
            bits = builder.bitcast(positive, _vector(width, _INT))
            half, shift = (ir.Constant(bits.type, [n] * width) for n in (0x8000, 16))
            short = builder.trunc(builder.lshr(builder.add(bits, half), shift), _vector(width, ir.IntType(16)))
            _store(builder, short, values[0])
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp), code

    return operation


@cache
def add_where_positive(width: int) -> Callable[[int, int, int, int], None]:
    """add_where_positive(w)(y, z, x, mask): y += x and z -= x, where mask > 0."""

    @intrinsic
    def operation(_: Any, y: Any, z: Any, x: Any, mask: Any) -> Any:  # noqa: ANN401
        def code(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:  # noqa: ANN401
            x, mask = (_load(builder, value, width) for value in values[2:])
            masked = builder.select(builder.fcmp_ordered(">", mask, _zeros(width)), x, _zeros(width))
            _store(builder, builder.fadd(_load(builder, values[0], width), masked, flags=_FAST), values[0])
            _store(builder, builder.fsub(_load(builder, values[1], width), masked, flags=_FAST), values[1])
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp, types.intp), code

    return operation


@cache
def add_bf16(width: int) -> Callable[[int, int, int], None]:
    """add_bf16(w)(y, a, b): y = a + b, b in bfloat16."""

    @intrinsic
    def operation(_: Any, y: Any, a: Any, b: Any) -> Any:  # noqa: ANN401
        def code(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:  # noqa: ANN401
            short = _vector(width, ir.IntType(16))
            bits = builder.zext(
                builder.load(builder.inttoptr(values[2], short.as_pointer()), align=2), _vector(width, _INT)
            )
            right = builder.bitcast(builder.shl(bits, ir.Constant(bits.type, [16] * width)), _vector(width))
            _store(builder, builder.fadd(_load(builder, values[1], width), right, flags=_FAST), values[0])
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp), code

    return operation


@cache
def largest_of_rows(width: int, count: int) -> Callable[[int, int, int, int], None]:
    """largest_of_rows(w, k)(most, which, rows, index): maximum over k rows of a table, and which row it stands in.

    most (w,) float32, which (w,) int32, rows (n, w) float32, index (k,) int64; of equal ones the first counts.
    """

    @intrinsic
    def operation(_: Any, most: Any, which: Any, rows: Any, index: Any) -> Any:  # noqa: ANN401
        def code(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:  # noqa: ANN401
            most_at, which_at, rows_at, index_at = values
            long = ir.IntType(64)
            best = cgutils.alloca_once(builder, _vector(width))
            place = cgutils.alloca_once(builder, _vector(width, _INT))
            builder.store(ir.Constant(_vector(width), [-3.0e38] * width), best)
            builder.store(ir.Constant(_vector(width, _INT), [0] * width), place)
            with cgutils.for_range(builder, ir.Constant(long, count)) as loop:
                at = builder.add(index_at, builder.mul(loop.index, ir.Constant(long, 8)))
                number = builder.load(builder.inttoptr(at, long.as_pointer()))
                row = builder.add(rows_at, builder.mul(number, ir.Constant(long, FLOAT_BYTES * width)))
                value, old = _load(builder, row, width), builder.load(best)
                larger = builder.fcmp_ordered(">", value, old)
                numbers = _splat(builder, builder.trunc(number, _INT), width)
                builder.store(builder.select(larger, value, old), best)
                builder.store(builder.select(larger, numbers, builder.load(place)), place)
            _store(builder, builder.load(best), most_at)
            _store(builder, builder.load(place), which_at)
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, types.intp, types.intp), code

    return operation


@njit(**COMPILE)
def aligned_zeros(count: int) -> np.ndarray:
    """(count,) float32 that begins at a cache line."""
    memory = np.zeros(count + _ALIGNMENT // 4, np.float32)
    skip = (_ALIGNMENT - memory.ctypes.data % _ALIGNMENT) % _ALIGNMENT // 4
    return memory[skip : skip + count]

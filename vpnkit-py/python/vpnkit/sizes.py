"""Sizes that cannot be confused: ``GiB(50)`` is 50 × 2**30 bytes, ``GB(50)`` is 50 × 10**9."""

from __future__ import annotations

from typing import Any, cast

from . import _native


class ByteSize(int):
    """A number of bytes. It is an ``int``; ``str()`` shows it with its unit.

    >>> str(ByteSize.parse("1.5 GiB"))
    '1.5 GiB'
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> ByteSize:
        """Reads ``"50 GiB"`` or ``"50 GB"``. Raises :class:`vpnkit.errors.InvalidInputError`."""
        return cls(_native.parse_size(text))

    def __str__(self) -> str:
        return f"-{ByteSize(-self)}" if self < 0 else _native.format_size(int(self))

    def __repr__(self) -> str:
        return f"ByteSize({int(self)})"

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if spec else str(self)

    def __add__(self, other: int) -> ByteSize:
        return _kept(int.__add__(self, other))

    __radd__ = __add__

    def __sub__(self, other: int) -> ByteSize:
        return _kept(int.__sub__(self, other))

    def __mul__(self, other: int) -> ByteSize:
        return _kept(int.__mul__(self, other))

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> ByteSize:
        return _kept(int.__floordiv__(self, other))

    def __mod__(self, other: int) -> ByteSize:
        return _kept(int.__mod__(self, other))


def _kept(result: Any) -> ByteSize:
    return cast(ByteSize, result) if result is NotImplemented else ByteSize(result)


def KiB(n: float) -> ByteSize:
    """``n`` × 2**10 bytes."""
    return ByteSize(n * 2**10)


def MiB(n: float) -> ByteSize:
    """``n`` × 2**20 bytes."""
    return ByteSize(n * 2**20)


def GiB(n: float) -> ByteSize:
    """``n`` × 2**30 bytes."""
    return ByteSize(n * 2**30)


def TiB(n: float) -> ByteSize:
    """``n`` × 2**40 bytes."""
    return ByteSize(n * 2**40)


def MB(n: float) -> ByteSize:
    """``n`` × 10**6 bytes."""
    return ByteSize(n * 10**6)


def GB(n: float) -> ByteSize:
    """``n`` × 10**9 bytes."""
    return ByteSize(n * 10**9)


def TB(n: float) -> ByteSize:
    """``n`` × 10**12 bytes."""
    return ByteSize(n * 10**12)

"""QR codes of links, for bots to send."""

from __future__ import annotations

from . import _native


def png(text: str, size: int = 512) -> bytes:
    """A black and white PNG, at most ``size`` pixels a side (up to 4,096), with sharp edges."""
    return _native.qr_png(text, size)


def svg(text: str) -> str:
    """A black and white SVG without a size of its own."""
    return _native.qr_svg(text)


def terminal(text: str) -> str:
    """For a terminal with a dark background."""
    return _native.qr_terminal(text)

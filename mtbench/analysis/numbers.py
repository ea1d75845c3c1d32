"""Numbers as a table prints them."""

from __future__ import annotations

import math

SIGNIFICANT = 3


def format_number(value: float, decimals: int | None = None) -> str:
    """``value`` with ``decimals`` digits after the point; with ``None``, three significant digits.

    Digits before the point are never dropped (1553 stays 1553), and zero has no sign.
    """
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if decimals is None:
        if value != 0 and abs(value) < 1e-6:
            return f"{value:.{SIGNIFICANT - 1}e}"
        # The exponent after rounding: 0.9996 is 1.00, not 1.000.
        exponent = int(f"{value:.{SIGNIFICANT - 1}e}".partition("e")[2])
        decimals = max(0, SIGNIFICANT - 1 - exponent)
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def format_p(value: float | None) -> str:
    """A p-value with three digits."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_coefficient(value: float | None, absolute: bool) -> str:
    """A correlation with two digits, and with its sign unless absolute values are printed."""
    return "–" if value is None else f"{value:.2f}" if absolute else f"{value:+.2f}"

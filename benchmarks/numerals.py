"""How numbers are written in tables: three digits that matter."""

from __future__ import annotations


def written(value: float | None) -> str:
    """``–`` where there is none."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}"


def bound(value: float | None) -> str:
    return "" if value is None else f"≤ {value:g}"

"""A report card for people: self-contained HTML with inline SVG, and one page of plain words."""

from __future__ import annotations

from evaluator.render.html import render_html
from evaluator.render.text import render_text

__all__ = ["render_html", "render_text"]

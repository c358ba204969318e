"""A report card for people: self-contained HTML with inline SVG, one page of plain words, a section for a model card."""

from __future__ import annotations

from evaluator.render.html import render_html
from evaluator.render.model_card import render_model_card_section
from evaluator.render.text import render_text

__all__ = ["render_html", "render_model_card_section", "render_text"]

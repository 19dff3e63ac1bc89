"""Cleaning and splitting."""

from __future__ import annotations

import re


def clean(text: str) -> str:
    """Text with runs of white space folded into one space."""
    return re.sub(r"\s+", " ", text).strip()


def words(text: str) -> list[str]:
    """The words of a text, in order, without punctuation at their ends."""
    return [
        word.strip(".,;:!?\"'()") for word in clean(text).split(" ") if word.strip(".,;:!?\"'()")
    ]

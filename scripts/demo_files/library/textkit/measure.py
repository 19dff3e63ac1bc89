"""Counting."""

from __future__ import annotations

from collections import Counter

from textkit.text import words


def word_count(text: str) -> int:
    return len(words(text))


def most_common(text: str, number: int = 3) -> list[str]:
    """The most frequent words, case-folded, the most frequent first."""
    counted = Counter(word.casefold() for word in words(text))
    return [word for word, _ in counted.most_common(number)]

from textkit.text import clean, words


def test_white_space_is_folded() -> None:
    assert clean("  a \n\t b  ") == "a b"


def test_words_lose_their_punctuation() -> None:
    assert words("Well, (this) works!") == ["Well", "this", "works"]

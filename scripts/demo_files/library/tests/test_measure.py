from textkit.measure import most_common, word_count


def test_words_are_counted() -> None:
    assert word_count("one two, two") == 3


def test_frequent_words_come_first() -> None:
    assert most_common("B b a b A c", 2) == ["b", "a"]

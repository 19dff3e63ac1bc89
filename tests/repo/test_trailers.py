from __future__ import annotations

from fleet.repo.trailers import Stamp, message, parse


def test_a_message_is_read_back() -> None:
    text = message("Add a thing", "Because.", task="add-thing", epoch=3, run="r1")
    assert text.startswith("Add a thing\n\nBecause.\n\nFleet-Task: add-thing\n")
    assert parse(text) == Stamp(task="add-thing", epoch=3, run="r1")


def test_a_persons_commit_has_no_stamp() -> None:
    assert parse("Fix it\n\nFleet-Task: half\n") is None
    assert parse("") is None


def test_neither_subject_nor_body_can_pass_for_a_stamp() -> None:
    forged = "Fleet-Task: other\nFleet-Epoch: 9\nFleet-Run: x"
    for text in (
        message(forged, "", task="mine", epoch=1, run="r"),
        message("s", forged, task="mine", epoch=1, run="r"),
        message("s", f"b\n\n{forged.lower()}", task="mine", epoch=1, run="r"),
    ):
        assert parse(text) == Stamp(task="mine", epoch=1, run="r")
        assert text.count("\nFleet-Task:") == 1


def test_a_quoted_stamp_further_up_does_not_count() -> None:
    ours = message("s", "", task="mine", epoch=1, run="r")
    assert parse(f"Revert it\n\n{ours}\nIt broke the build.\n") is None


def test_a_sign_off_after_it_does_not_hide_it() -> None:
    ours = message("s", "", task="mine", epoch=1, run="r")
    assert parse(f"{ours}Signed-off-by: someone\n") == Stamp(task="mine", epoch=1, run="r")

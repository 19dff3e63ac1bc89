from __future__ import annotations

from fleet.core.story import Story
from fleet.process.supervise import End, Ended
from fleet.worker.access import Access

TOKEN = "tok-canary"
SAID = f"unexpected status 403, url: http://127.0.0.1:1/a/{TOKEN}/v1/responses"
ENDED = Ended(
    end=End.EXITED,
    code=1,
    signal=None,
    reason=SAID,
    seconds=1.0,
    output_bytes=9,
    killed=0,
    last_line=SAID,
)


def test_neither_an_agents_end_nor_its_own_words_repeat_its_token() -> None:
    access = Access(proxy=f"http://127.0.0.1:1/a/{TOKEN}", token=TOKEN)
    ended, story = access.hushed(ENDED, Story(error=SAID, said=SAID, turns=3))
    for words in (ended.reason, ended.last_line, story.error, story.said):
        assert words == SAID.replace(TOKEN, "…")
    assert (ended.code, story.turns) == (1, 3)


def test_without_a_token_nothing_is_taken_out() -> None:
    story = Story(said="as it is")
    assert Access().hushed(ENDED, story) == (ENDED, story)

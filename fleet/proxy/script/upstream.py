"""A model played from a script: answers every call without a network.

The answer is ready when the call is made; delays, pauses and faults are timers of the loop. Calls
are counted by the rule that answered them.
"""

from __future__ import annotations

import hashlib
from collections import Counter

from fleet.proxy.dialects.dialect import DialectName, Endpoint
from fleet.proxy.dialects.lenient import Object, members_of, text
from fleet.proxy.recording.likeness import stable
from fleet.proxy.recording.playback import Playback, Step
from fleet.proxy.script import routes, sides
from fleet.proxy.script.anthropic import Anthropic
from fleet.proxy.script.chat import Chat
from fleet.proxy.script.gemini import Gemini
from fleet.proxy.script.question import Question
from fleet.proxy.script.responses import Responses
from fleet.proxy.script.routes import Route
from fleet.proxy.script.rules import Answer, Script, choose
from fleet.proxy.script.speech import Voice, compose
from fleet.proxy.script.staging import Reply, refused, staged
from fleet.proxy.wire import Outgoing, Sending, Sink

_GEMINI = Gemini()
VOICES: dict[DialectName, Voice] = {
    DialectName.ANTHROPIC: Anthropic(),
    DialectName.CHAT: Chat(),
    DialectName.RESPONSES: Responses(),
    DialectName.GEMINI: _GEMINI,
}
Said = tuple[str, Answer, Reply]  # by which rule, and what

PROBE, NOWHERE, UNREADABLE = "probe", "nowhere", "unreadable"  # what no rule is asked about


class ScriptUpstream:
    """An `Upstream`. `calls`: how many each rule, or endpoint without rules, has answered."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.calls: Counter[str] = Counter()

    def send(self, outgoing: Outgoing, sink: Sink) -> Sending:
        playback = Playback(sink)
        playback.play(self._answer(outgoing))
        return playback

    def _answer(self, outgoing: Outgoing) -> list[Step]:
        route = routes.find(outgoing.method, outgoing.target, outgoing.headers)
        asked = f"{outgoing.method} {outgoing.target}\0".encode("utf-8", "replace")
        request_id = f"req_{hashlib.sha256(asked + outgoing.body).hexdigest()[:24]}"
        name, answer, reply = self._say(outgoing, route, request_id)
        self.calls[name] += 1
        return staged(answer, reply, request_id)

    def _say(self, outgoing: Outgoing, route: Route | None, request_id: str) -> Said:
        if route is None:
            if outgoing.method == "HEAD":
                return PROBE, Answer(), Reply(pieces=[])
            path = outgoing.target.partition("?")[0]
            answer = Answer(error=404, message=f"{outgoing.method} {path} is not in a script")
            return NOWHERE, answer, refused(answer, VOICES[DialectName.ANTHROPIC], request_id)
        voice = VOICES[route.dialect]
        if route.endpoint is Endpoint.MODELS:
            return self._list(route, voice, request_id)
        body = members_of(outgoing.body)
        if body is None:
            answer = Answer(error=400, message="the body is not a JSON object")
            return UNREADABLE, answer, refused(answer, voice, request_id)
        counted = stable(outgoing.body, without=("stream",))
        if route.endpoint is Endpoint.COUNT_TOKENS:
            counts = sides.tokens(len(counted), route.dialect)
            return route.endpoint.value, Answer(), Reply(pieces=[counts])
        if route.endpoint is Endpoint.EMBEDDINGS:
            return route.endpoint.value, Answer(), Reply(pieces=[sides.embeddings(body)])
        question = _question(route, body, counted, voice)
        choice = choose(self._script, question, self.calls)
        return choice.name, choice.answer, _reply(question, choice.answer, voice, request_id)

    def _list(self, route: Route, voice: Voice, request_id: str) -> Said:
        known, name = self._script.models, route.endpoint.value
        if route.model and route.model not in known:
            what = f"there is no model {route.model!r} in this script"
            answer = Answer(error=404, message=what)
            return name, answer, refused(answer, voice, request_id)
        if route.model:
            return name, Answer(), Reply(pieces=[sides.model(route.model, route.dialect)])
        return name, Answer(), Reply(pieces=[sides.models(known, route.dialect)])


def _reply(question: Question, answer: Answer, voice: Voice, request_id: str) -> Reply:
    if answer.error:
        return refused(answer, voice, request_id)
    speech = compose(question, answer)
    if not question.stream:
        return Reply(pieces=[voice.whole(speech)])
    if question.sse:
        return Reply(pieces=voice.events(speech), stream=True)
    return Reply(pieces=_GEMINI.array(speech))


def _question(route: Route, body: Object, counted: bytes, voice: Voice) -> Question:
    model = route.model or text(body.get("model"))
    seen = hashlib.sha256(f"{route.dialect}\0{model}\0".encode("utf-8", "replace") + counted)
    conversation = voice.read(body)
    return Question(
        dialect=route.dialect,
        model=model,
        conversation=conversation,
        stream=route.stream or conversation.stream,
        sse=route.sse,
        digest=seen.hexdigest(),
        size=len(counted),
    )

"""The life of a simulated call, without any I/O."""

from __future__ import annotations

import math
from typing import Any

import pytest
from simulated import FROM, HANGUP, TO, lived, pass_time, place, post, said, story, trace_of

from telecmi_async.errors import ConfigurationError
from telecmi_async.simulator import Callee, Simulator
from telecmi_async.simulator.world import SimulatedClock

PLAY = {"action": "play", "file_name": "welcome.wav"}
OTHER = 19170000002
THIRD = 19170000003
UNANSWERED = Callee(ending="missed")


def bridge(*numbers: int, **more: object) -> dict[str, Any]:
    """Return a bridge action to numbers."""
    connect = [{"type": "pstn", "number": number} for number in numbers]
    return {"action": "bridge", "connect": connect, **more}


def test_an_answered_call_carries_its_flow_out_and_ends() -> None:
    """An answered call rings, runs its flow, hangs up, and gets its record."""
    call = lived(PLAY, HANGUP)

    assert story(call) == [
        "a started", "a ringing", "a answered", "play", "hangup", "a hangup", "a record",
    ]  # fmt: skip
    assert (call.answered, call.stage) == (True, "completed")
    assert 2 <= call.talk_seconds <= 9
    assert str(call.cost) == "0.390000"
    assert [note.at for note in call.timeline] == sorted(note.at for note in call.timeline)


@pytest.mark.parametrize("ending", ["missed", "busy", "failed"])
def test_a_call_that_nobody_answers_ends_without_its_flow(ending: Any) -> None:
    """An unanswered call costs nothing, and its stage says how it ended."""
    call = lived(PLAY, callees={TO: Callee(ending=ending)})

    assert story(call) == ["a started", "a ringing", "a hangup", "a record"]
    assert (call.answered, call.stage, call.talk_seconds) == (False, ending, 0)
    assert call.cost == 0


def test_the_share_of_answers_is_kept() -> None:
    """About ``answered_share`` of the calls are answered."""
    simulator = Simulator(answered_share=0.3, keep=None)
    calls = [place(simulator, to=TO + n) for n in range(500)]
    pass_time(simulator, 1_000.0)

    assert 100 < sum(call.answered for call in calls) < 200


def test_at_the_end_of_its_flow_the_callee_hangs_up() -> None:
    """At the end of its flow the callee hangs up, because TeleCMI documents nothing."""
    call = lived(PLAY)

    assert story(call)[-3:] == ["play", "a hangup", "a record"]
    assert call.timeline[-2].detail == "the callee"


def test_what_takes_no_time_takes_none() -> None:
    """Recording, setting values and unknown actions take no time."""
    call = lived({"action": "record"}, {"action": "param"}, {"action": "dance"}, HANGUP)

    assert story(call)[3:7] == ["record", "param", "dance", "hangup"]
    assert len({note.at for note in call.timeline[2:8]}) == 1


def test_speech_takes_as_long_as_its_text() -> None:
    """Speech takes a second to begin, and then speaks fifteen letters a second."""
    call = lived({"action": "speak", "text": "a" * 150}, {"action": "speak"}, HANGUP)
    first, second, end = (note.at for note in call.timeline if note.what == "step")

    assert (round(second - first, 6), round(end - second, 6)) == (11, 1)


def test_a_bridge_connects_a_second_leg() -> None:
    """A bridge adds leg b, whose record comes first; then leg a's flow goes on."""
    call = lived(bridge(OTHER, **{"from": 19170000009}), HANGUP)
    first, second = call.legs

    assert story(call) == [
        "a started", "a ringing", "a answered", "bridge", "b started", "b ringing",
        "b bridged", "b hangup", "b record", "hangup", "a hangup", "a record",
    ]  # fmt: skip
    assert (second.to, second.from_, first.from_) == (OTHER, 19170000009, FROM)
    assert 0 < second.talk_seconds <= first.talk_seconds
    assert call.cost > 0


def test_a_bridge_tries_one_after_the_other_again_and_again() -> None:
    """A bridge dials in order, each for its time-out, as often as ``loop`` says."""
    call = lived(
        bridge(OTHER, THIRD, timeout=10, loop=2),
        HANGUP,
        callees={OTHER: UNANSWERED, THIRD: Callee(ring=11)},
    )

    assert [leg.to for leg in call.legs[1:]] == [OTHER, THIRD] * 2
    assert [leg.ending for leg in call.legs[1:]] == ["missed"] * 4
    assert [round((leg.ended or 0) - leg.started, 6) for leg in call.legs[1:]] == [10.0] * 4
    assert story(call)[-7:] == ["hangup", "a hangup", *["b record"] * 4, "a record"]


def test_a_group_rings_together_and_the_first_answer_wins() -> None:
    """A group rings together; the first answer ends the other legs."""
    call = lived(
        bridge(OTHER, THIRD, 19170000004, ring_type="group"),
        HANGUP,
        callees={
            OTHER: Callee(ring=8),
            THIRD: Callee(ring=5),
            19170000004: Callee(ending="busy", ring=1),
        },
    )

    assert [leg.ending for leg in call.legs[1:]] == ["missed", "answered", "busy"]
    assert len({leg.started for leg in call.legs[1:]}) == 1
    assert call.legs[1].ended == call.legs[2].answered


def test_the_other_side_may_hang_up_early() -> None:
    """Leg b ends by its script, by the bridge's duration, or after its talk time."""
    script = {OTHER: Callee(talk=300)}
    short = lived(bridge(OTHER), HANGUP, callees={OTHER: Callee(talk=300, hangs_up_after=4)})
    limited = lived(bridge(OTHER, duration=7), HANGUP, callees=script)
    whole = lived(bridge(OTHER), HANGUP, callees=script)

    def talk(call: Any) -> float:
        return float(round(call.legs[1].ended - call.legs[1].answered, 6))

    assert (talk(short), talk(limited), talk(whole)) == (4, 7, 300)


@pytest.mark.parametrize(
    "connect",
    [
        {"connect": [{"type": "sip", "user": "alice"}]},
        {"call": [{"type": "sip", "user": "alice"}]},
    ],
)
def test_a_sip_user_is_connected_like_a_number(connect: dict[str, Any]) -> None:
    """A SIP user is connected from either of the two documented array names."""
    call = lived({"action": "connect", **connect}, HANGUP)

    assert call.legs[1].to == "alice"
    assert call.legs[1].ending == "answered"


@pytest.mark.parametrize(
    "action",
    [
        {"action": "bridge"},
        {"action": "bridge", "connect": "everybody"},
        {"action": "bridge", "connect": [7, {"type": "pstn"}, {"number": True}]},
        {"action": "bridge", "connect": [], "timeout": "long", "loop": True, "duration": -1},
    ],
)
def test_a_bridge_to_nobody_is_passed_over(action: dict[str, Any]) -> None:
    """A bridge without a valid target adds no leg, and the flow goes on."""
    call = lived(action, HANGUP)

    assert len(call.legs) == 1
    assert "hangup" in story(call)


def test_a_bridge_to_very_many_comes_to_an_end() -> None:
    """A bridge adds at most 50 legs, so that no flow fills the memory."""
    many = bridge(*[OTHER] * 30, loop=10**9)
    call = lived(many, HANGUP, callees={OTHER: UNANSWERED})

    assert len(call.legs) == 50


def test_a_stream_has_a_leg_of_its_own_and_no_record() -> None:
    """A stream is leg b of the events, and has no record."""
    call = lived({"action": "stream", "ws_url": "wss://example.com"}, HANGUP)

    assert story(call)[3:7] == [
        "stream",
        "b stream_connected",
        "b stream_disconnected",
        "hangup",
    ]
    assert len(call.legs) == 1


@pytest.mark.parametrize(
    ("options", "who"),
    [
        ({"duration": 3}, "the duration is over"),
        ({"callees": {TO: Callee(hangs_up_after=3)}}, "the callee"),
    ],
)
def test_a_call_can_end_in_the_midst(options: dict[str, Any], who: str) -> None:
    """The duration or the callee ends a call while leg b is still open."""
    callees = {OTHER: Callee(ring=1, talk=500), **options.pop("callees", {})}
    call = lived(bridge(OTHER), HANGUP, callees=callees, **options)
    first = call.legs[0]

    assert round((first.ended or 0) - (first.answered or 0), 6) == 3
    assert [note.detail for note in call.timeline if note.what == "hangup"] == [who, who]
    assert call.legs[1].ended == first.ended
    assert story(call)[-2:] == ["b record", "a record"]


def test_a_record_is_written_though_the_call_ends_meanwhile() -> None:
    """Leg b's pending record is written once, although the call ends before."""
    script = {OTHER: Callee(ring=1, talk=2), TO: Callee(hangs_up_after=3.1)}
    call = lived(bridge(OTHER), PLAY, callees=script)

    assert [leg.recorded for leg in call.legs] == [True, True]
    assert story(call).count("b record") == 1


def test_keys_are_pressed_by_script() -> None:
    """A script presses one text for each prompt, cut to ``max_digit``, and then nothing."""
    ask = {"action": "play_get_input", "file_name": "menu.wav", "max_digit": 2}
    listen = {"action": "input", "max_digit": 4, "timeout": 3}
    call = lived(ask, listen, listen, HANGUP, callees={TO: Callee(digits=["123", "9"])})

    pressed = [note.detail for note in call.timeline if note.what == "keys"]
    assert pressed == ["2 pressed", "1 pressed", "0 pressed"]


def test_a_prompt_is_repeated_if_nobody_presses() -> None:
    """A prompt without keys is repeated ``max_retry`` times, each with its time-out."""
    ask = {"action": "play_get_input", "file_name": "menu.wav", "max_retry": 3, "timeout": 10}
    call = lived(ask, HANGUP)
    asked, done = [note.at for note in call.timeline if note.what in {"step", "keys"}][:2]

    assert 33 < done - asked < 42


@pytest.mark.parametrize("life", ["timed", "immediate"])
def test_the_same_seed_tells_the_same_story(life: Any) -> None:
    """The trace depends on the seed, and not on the order of calls."""

    def trace(seed: int, order: int) -> str:
        simulator = Simulator(seed=seed, life=life, answered_share=0.5)
        for n in range(20)[::order]:
            place(simulator, PLAY, bridge(OTHER + n), HANGUP, to=TO + 100 + n)
        pass_time(simulator, 10_000.0)
        return trace_of(simulator)

    assert trace(1, 1) == trace(1, -1) != trace(2, 1)


def test_time_may_pass_at_once() -> None:
    """With ``life="immediate"`` a call is over as soon as it is accepted."""
    simulator = Simulator(life="immediate")
    call = place(simulator, PLAY, bridge(OTHER), HANGUP)

    assert call.over
    assert call.talk_seconds > 5
    assert simulator.live == ()


def test_calls_can_be_driven_by_hand() -> None:
    """With ``life="manual"`` a call moves only when a method is called."""
    simulator = Simulator(life="manual")
    call = place(simulator, PLAY, {"action": "input", "max_digit": 3}, bridge(OTHER), PLAY)
    stages = [call.stage]
    pass_time(simulator, 5_000.0)
    stages.append(call.stage)
    call.answer()
    stages.append(call.stage)
    call.press("1234")
    call.answer()
    stages.append(call.stage)
    call.hangup()
    stages.append(call.stage)

    assert stages == ["ringing", "ringing", "answered", "bridged", "completed"]
    assert "3 pressed" in [note.detail for note in call.timeline]
    assert story(call)[-2:] == ["b record", "a record"]


def test_a_call_can_be_missed_by_hand() -> None:
    """`miss` ends a ringing leg unanswered."""
    simulator = Simulator(life="manual")
    call = place(simulator)
    call.miss()

    assert (call.over, call.answered) == (True, False)


def test_a_call_by_hand_stays_on_the_line_at_its_end() -> None:
    """A manual call stays open at the end of its flow, until `hangup`."""
    simulator = Simulator(life="manual")
    call = place(simulator, PLAY)
    call.answer()
    before = call.over
    call.hangup()
    call.hangup()  # a second time, without effect

    assert (before, call.over) == (False, True)


def test_a_hand_can_hurry_a_call_that_lives_by_itself() -> None:
    """`answer` may be called on a timed call before its answer is due."""
    simulator = Simulator()
    call = place(simulator)
    pass_time(simulator, 1.0)
    call.answer()

    assert call.answered


def test_what_a_call_does_not_wait_for_is_refused() -> None:
    """A method that does not fit raises an error with the stage, and without a number."""
    simulator = Simulator(life="manual")
    call = place(simulator)
    with pytest.raises(
        RuntimeError, match=r"is ringing: it does not wait for press\(\)"
    ) as why:
        call.press("1")
    call.hangup()
    with pytest.raises(RuntimeError, match="does not wait for"):
        call.answer()

    assert str(TO) not in str(why.value)


def test_calls_that_are_only_accepted_have_no_life() -> None:
    """With ``life=None`` a call has no legs, and cannot be driven."""
    simulator = Simulator(life=None)
    call = place(simulator)

    assert (call.legs, call.timeline, call.over, call.answered) == ((), [], False, False)
    assert (call.stage, call.talk_seconds) == ("accepted", 0)
    assert simulator.calls == (call,)
    with pytest.raises(RuntimeError, match="life=None"):
        call.answer()
    with pytest.raises(RuntimeError, match="life=None"):
        simulator.call_in(from_=TO, to=FROM)


def test_only_the_newest_calls_are_remembered() -> None:
    """The newest calls are kept, and those that are still live."""
    simulator = Simulator(keep=2)
    first, *_ = [place(simulator, to=TO + n) for n in range(5)]

    assert [call.to for call in simulator.calls] == [TO + 3, TO + 4]
    assert simulator.call(first.request_id) is first
    pass_time(simulator, 1_000.0)
    with pytest.raises(LookupError, match="among the newest"):
        simulator.call(first.request_id)
    assert simulator.live == ()


def test_calls_are_looked_up_as_documented() -> None:
    """Channels in use are text; records are found by call and by leg, later legs first."""
    simulator = Simulator()
    call = place(simulator, bridge(OTHER), HANGUP)
    before = post(simulator, "/v2/piopiy/get_channels", {}, at=1.0)
    early = post(simulator, "/v1/piopiy/requestid_cdr", {"request_id": call.request_id}, at=1.0)
    pass_time(simulator, 1_000.0)
    after = post(simulator, "/v2/piopiy/get_channels", {}, at=1_000.0)
    records = post(
        simulator, "/v1/piopiy/requestid_cdr", {"request_id": call.request_id}, at=1_000.0
    )
    leg = post(
        simulator, "/v1/piopiy/cmiuuid_cdr", {"cmiuuid": call.legs[0].cmiuuid}, at=1_000.0
    )

    assert said(before) == {"code": 200, "channel": "1"}
    assert said(after) == {"code": 200, "channel": "0"}
    assert said(early)["code"] == 404
    assert (said(records)["count"], said(records)["code"]) == (2, 200)
    assert [row["leg"] for row in said(records)["cdr"]] == ["b", "a"]
    assert said(records)["cdr"][1] == said(leg)["cdr"]
    assert said(leg)["cdr"]["status"] == "answered"
    assert said(leg)["cdr"]["duration"] == call.talk_seconds


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/piopiy/get_channels", 407),
        ("/v1/piopiy/requestid_cdr", 404),
        ("/v1/piopiy/cmiuuid_cdr", 404),
        ("/v1/call/action", 404),
    ],
)
def test_wrong_credentials_have_each_pages_own_code(path: str, code: int) -> None:
    """Wrong credentials and invalid bodies get 407 for channels and 404 elsewhere."""
    simulator = Simulator()

    assert post(simulator, path, {"secret": "wrong"}).answer.status == code
    broken = simulator.receive("POST", path, {"content-type": "application/json"}, b"[", at=0.0)
    assert broken.answer.status == code
    wrong_method = simulator.receive("GET", path, {}, b"", at=0.0)
    assert wrong_method.answer.status == 405


def test_what_is_not_there_is_not_found() -> None:
    """An unknown call, leg or action gets 404."""
    simulator = Simulator()
    call = place(simulator)
    cmiuuid = call.legs[0].cmiuuid

    for path, fields in [
        ("/v1/piopiy/requestid_cdr", {"request_id": "nobody"}),
        ("/v1/piopiy/cmiuuid_cdr", {"cmiuuid": "nobody"}),
        ("/v1/piopiy/cmiuuid_cdr", {"cmiuuid": cmiuuid}),
        ("/v1/call/action", {"cmiuuid": "nobody", "action": "hangup"}),
        ("/v1/call/action", {"cmiuuid": cmiuuid, "action": "dance"}),
    ]:
        assert post(simulator, path, fields).answer.status == 404


def test_commands_reach_a_call() -> None:
    """A live call is held, unheld and hung up; both spellings of the id work."""
    simulator = Simulator(life="manual")
    call = place(simulator, PLAY)
    call.answer()
    cmiuuid = call.legs[0].cmiuuid

    held = post(simulator, "/v1/call/action", {"cmiuuid": cmiuuid, "action": "hold"})
    post(simulator, "/v1/call/global_action", {"cmiuid": cmiuuid, "action": "unhold"})
    post(simulator, "/v1/call/global_action", {"cmiuid": cmiuuid, "action": "hangup"})
    for action in ("hold", "hangup"):
        late = post(simulator, "/v1/call/action", {"cmiuuid": cmiuuid, "action": action})
        assert late.answer.status == 404

    assert said(held) == {"code": 200, "status": "success"}
    assert call.over
    assert [note.what for note in call.timeline if "hold" in note.what] == ["hold", "unhold"]
    assert next(note for note in call.timeline if note.what == "hangup").detail == "a command"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"life": "slow"}, "Simulator.life must be"),
        ({"ring": -1}, "Simulator.ring must be seconds"),
        ({"talk": (5, 1)}, "Simulator.talk must be seconds"),
        ({"answered_share": 2}, "Simulator.answered_share must be a number from 0 to 1"),
        ({"magic": 1}, "Simulator.magic must be True or False"),
        ({"speed": 0}, "Simulator.speed must be a positive number"),
        ({"starts_at": "now"}, "Simulator.starts_at must be a datetime with a time zone"),
        ({"callees": [1]}, "Simulator.callees must be a mapping"),
        ({"callees": {TO: "busy"}}, "Simulator.callees must hold Callees"),
        ({"callees": {"home": Callee()}}, "Simulator.callees"),
        ({"webhooks": 7}, "webhooks must go to a Receiver or an http"),
        ({"webhooks": "ftp://example.com"}, "webhooks must go to a Receiver or an http"),
        ({"webhooks": "example.com/a-token"}, "URL, not another text, which is not shown$"),
    ],
)
def test_an_option_that_cannot_be_right_is_refused(options: Any, message: str) -> None:
    """A wrong option raises an error that names it."""
    with pytest.raises(ConfigurationError, match=message):
        Simulator(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ending": "asleep"}, "Callee.ending must be"),
        ({"digits": "12a"}, "Callee.digits must be keys"),
        ({"digits": [1]}, "Callee.digits must be keys"),
        ({"ring": 0}, "Callee.ring must be a positive number"),
        ({"talk": -1}, "Callee.talk must be a positive number"),
        ({"hangs_up_after": "soon"}, "Callee.hangs_up_after must be a positive number"),
    ],
)
def test_a_callee_that_cannot_be_is_refused(options: Any, message: str) -> None:
    """A wrong field raises an error that names it."""
    with pytest.raises(ConfigurationError, match=message):
        Callee(**options)


def test_the_keys_somebody_presses_are_not_shown() -> None:
    """The repr of a callee hides its keys, which may be a PIN."""
    assert "1234" not in repr(Callee(digits="1234"))


def test_waiting_for_what_is_all_but_due_moves_the_clock() -> None:
    """A rounding remainder still moves the clock, so that a virtual clock cannot hang."""
    clock = SimulatedClock(1.0)
    clock.read(5.139204)
    now = 5.225335173311771
    due = math.nextafter(clock.read(now), 1)

    assert now + (due - clock.now) == now
    assert now + clock.until(due) > now

"""Campaign settings and timeouts."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async import Hangup, Timeouts
from telecmi_async.campaigns import (
    CallingWindow,
    Campaign,
    CampaignRules,
    CampaignSettings,
    CampaignTimeouts,
    CostCap,
    DailyCap,
    FrequencyCap,
    Pace,
    Retries,
)
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.pcmo.template import Template

if TYPE_CHECKING:
    from random import Random

FLOW: list[Any] = [{"action": "speak", "text": "Hello {name}"}, Hangup()]
FULL = CampaignSettings(
    flow=FLOW,
    rules=CampaignRules(
        window=CallingWindow("09:00", "21:00"),
        per_number=[FrequencyCap(1, per=3600)],
        per_day=DailyCap(100, timezone="Asia/Kolkata"),
        cost=CostCap(50.0),
        not_after=1_900_000_000.0,
        do_not_call=False,
    ),
    pace=Pace(calls_per_second=2.5, max_live_calls=10, max_in_flight=5, shared="trunk"),
    retries=Retries(attempts=2, first=1.5, longest=9.0),
    unknown="retry_after_proof",
    pause_after_refusals=None,
    from_="+91 70000 00000",
)


@pytest.mark.parametrize("settings", [CampaignSettings(flow=FLOW), FULL], ids=["least", "all"])
def test_settings_survive_a_ledger(settings: CampaignSettings) -> None:
    """Settings dumped to JSON and parsed again are equal."""
    kept = json.loads(json.dumps(settings.dump()))

    assert CampaignSettings.parse(kept) == settings


def test_settings_that_are_not_in_a_ledger_have_their_defaults() -> None:
    """A ledger may lack all settings but the flow and the format."""
    kept = CampaignSettings(flow=FLOW).dump()
    least = {name: kept[name] for name in ("format", "flow")}

    assert CampaignSettings.parse(least) == CampaignSettings(flow=FLOW)


def test_an_action_that_nobody_knows_survives_too() -> None:
    """An unknown action in stored settings, as from `Raw`, is kept."""
    kept = CampaignSettings(flow=FLOW).dump() | {"flow": [{"action": "dance"}]}

    assert CampaignSettings.parse(kept).flow.dump() == [{"action": "dance"}]


def test_a_flow_becomes_a_template_and_a_template_stays() -> None:
    """The flow may be a list of actions or a template."""
    template = Template(FLOW)

    assert CampaignSettings(flow=template).flow is template
    assert CampaignSettings(flow=FLOW).flow == template


def test_no_caller_id_is_shown() -> None:
    """The repr does not show the caller id."""
    assert "7000" not in repr(FULL)
    assert "from_=None" in repr(CampaignSettings(flow=FLOW))


def test_settings_from_before_refusals_were_counted_have_the_default() -> None:
    """Settings in a ledger that do not say when refusals pause the campaign use the default."""
    kept = CampaignSettings(flow=FLOW).dump()
    del kept["pause_after_refusals"]

    assert CampaignSettings.parse(kept).pause_after_refusals == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"pace": {"calls_per_sec": 2}},
            r'settings\.pace .*"calls_per_sec".*"calls_per_second"',
        ),
        ({"retries": {"longest_": 2}}, r'settings\.retries has no member "longest_"'),
        ({"frm": None}, r'settings has no member "frm": did you mean "from"'),
        ({"from_": None}, r'settings has no member "from_"'),
        (
            {"flow": [{"action": "speak", "txt": "hello"}]},
            r"settings\.flow cannot be read: .*txt",
        ),
        (
            {"rules": {"window": {"start": "9:00", "end": "18:00", "days": [["mon"]]}}},
            "days cannot",
        ),
        ({"flow": [{"action": ["speak"]}]}, r"settings\.flow cannot be read"),
        ({"format": 2}, "newer version of telecmi-async .their format is 2, this one reads 1."),
        ({"format": None}, "have no format that this version .*must be 1, not None"),
        ({"format": True}, "must be 1, not True"),
        ({"format": "1"}, 'must be 1, not "1"'),
        ({"format": 0}, "must be 1, not 0"),
    ],
)
def test_what_this_version_does_not_know_is_named(change: dict[str, Any], said: str) -> None:
    """An unknown member is refused with its place, another format with what to do."""
    with pytest.raises(ConfigurationError, match=said):
        CampaignSettings.parse(FULL.dump() | change)


def test_a_newer_format_is_named_before_its_members() -> None:
    """Settings of a newer version ask for an update, whatever else they hold."""
    with pytest.raises(ConfigurationError, match="newer version"):
        CampaignSettings.parse({"format": 3, "dial": {}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda more: (
        st.lists(more, max_size=2) | st.dictionaries(st.text(max_size=5), more, max_size=2)
    ),
    max_leaves=4,
)


@given(st.randoms(use_true_random=False), JSON)
def test_no_value_anywhere_raises_anything_else(random: Random, value: Any) -> None:
    """Settings with any JSON in any place are read, or refused with this package's own error."""
    kept = json.loads(json.dumps(FULL.dump()))
    at = kept
    while True:
        key = random.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if not (isinstance(at[key], dict | list) and at[key]) or random.random() < 0.3:
            break
        at = at[key]
    at[key] = value

    with contextlib.suppress(ConfigurationError):
        CampaignSettings.parse(kept)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        FULL.dump() | {"pace": None},
        FULL.dump() | {"pace": {"cps": 1}},
        FULL.dump() | {"flow": []},
        FULL.dump() | {"unknown": "whatever"},
        FULL.dump() | {"from": "nobody"},
        FULL.dump() | {"pause_after_refusals": 0},
        FULL.dump() | {"pause_after_refusals": "ten"},
        FULL.dump() | {"rules": {"widnow": None}},
    ],
)
def test_what_are_no_settings_is_refused(data: Any) -> None:
    """Invalid stored settings raise ConfigurationError without a cause."""
    with pytest.raises(ConfigurationError) as caught:
        CampaignSettings.parse(data)

    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (Pace, {"calls_per_second": 0}),
        (Pace, {"calls_per_second": 10_001}),
        (Pace, {"max_live_calls": 0}),
        (Pace, {"max_in_flight": 0}),
        (CampaignSettings, {"flow": FLOW, "unknown": "dial"}),
        (CampaignSettings, {"flow": FLOW, "from_": "nobody"}),
        (CampaignTimeouts, {"claim": 0}),
        (CampaignTimeouts, {"fence": -1}),
        (CampaignTimeouts, {"proof": "long"}),
    ],
)
def test_values_that_cannot_work_are_refused(kind: Any, more: dict[str, Any]) -> None:
    """Invalid values are rejected when the settings are created."""
    with pytest.raises(ConfigurationError):
        kind(**more)


@pytest.mark.parametrize("rate", [0, -1.0, 10_001, "fast", True, None, float("nan")])
def test_a_rate_that_cannot_be_is_said_to_be_one(rate: Any) -> None:
    """The error for an invalid rate speaks of calls per second."""
    with pytest.raises(
        ConfigurationError, match=r"calls_per_second must be .* calls in a second"
    ):
        Pace(calls_per_second=rate)


def test_a_flow_that_is_none_is_refused() -> None:
    """An empty flow is rejected when the settings are created."""
    with pytest.raises(InvalidCall):
        CampaignSettings(flow=[])


def test_a_send_is_its_workers_until_it_must_be_over() -> None:
    """A send lease lasts for fence, request timeout and grace together."""
    claim: Any = timedelta(minutes=1)
    waits = CampaignTimeouts(claim=claim, fence=2, timeouts=Timeouts(total=10), grace=3)

    assert waits.claim == 60.0
    assert waits.send == 2 + 10 + 3
    assert CampaignTimeouts().send == 30 + 60 + 30


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", 5, None])
def test_what_no_database_can_hold_is_no_name(name: Any) -> None:
    """A name that a database cannot store is rejected at once."""
    unused: Any = None
    with pytest.raises(ConfigurationError, match=r"Pace\.shared must be a text"):
        Pace(shared=name)
    with pytest.raises(ConfigurationError, match=r"Campaign\.name must be a text"):
        Campaign(unused, unused, name, FULL)
    if name:
        with pytest.raises(ConfigurationError, match=r"Campaign\.worker must be a text"):
            Campaign(unused, unused, "spring", FULL, worker=name)


@pytest.mark.parametrize("part", ["pace", "rules", "retries"])
def test_a_part_that_is_something_else_is_refused(part: str) -> None:
    """A part of the wrong type raises ConfigurationError."""
    wrong: Any = 5
    with pytest.raises(ConfigurationError, match=rf"CampaignSettings\.{part} must be a "):
        CampaignSettings(flow=[Hangup()], **{part: wrong})
    with pytest.raises(
        ConfigurationError, match=r"CampaignTimeouts\.timeouts must be a Timeouts"
    ):
        CampaignTimeouts(timeouts=wrong)

"""Campaign rules, checked at the moment of sending."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from telecmi_async.campaigns import window as window_module
from telecmi_async.campaigns.rules import CampaignRules, CostCap, DailyCap, FrequencyCap
from telecmi_async.campaigns.window import DAYS, CallingWindow
from telecmi_async.campaigns.zones import zones_of
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.send_records import RuleDecision, SendLimits

INDIAN = 919876543210
AMERICAN = 19175550123
SATELLITE = 8811234567
INDIA = ("Asia/Kolkata",)


def at(text: str, zone: str = "UTC") -> float:
    """Return the timestamp of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


COMMERCIAL = CampaignRules(window=CallingWindow("09:00", "21:00"))


# --- the window -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wall", "opens"),
    [
        ("2026-11-24T08:59:59", "2026-11-24T09:00"),
        ("2026-11-24T20:59:00", "2026-11-25T09:00"),
        ("2026-11-24T21:00:00", "2026-11-25T09:00"),
        ("2026-11-24T23:59:59", "2026-11-25T09:00"),
    ],
)
def test_outside_the_window_nobody_is_dialled(wall: str, opens: str) -> None:
    """A refusal gives the next opening; a window closes one ring time before its end."""
    refusal = COMMERCIAL.judge(INDIAN, {}, at(wall, "Asia/Kolkata"))

    assert refusal is not None
    assert (refusal.rule, refusal.until) == ("calling_window", at(opens, "Asia/Kolkata"))
    assert "09:00-21:00" in refusal.reason
    assert "Asia/Kolkata" in refusal.reason


@pytest.mark.parametrize("wall", ["2026-11-24T09:00:00", "2026-11-24T20:58:59"])
def test_inside_the_window_anybody_is(wall: str) -> None:
    """From its start to one ring time before its end, the window allows calls."""
    assert COMMERCIAL.judge(INDIAN, {}, at(wall, "Asia/Kolkata")) is None


def test_an_ambiguous_country_takes_what_its_zones_share() -> None:
    """With several time zones, a window is open only when it is open in all of them."""
    morning = at("2026-11-24T09:30", "America/New_York")

    refusal = COMMERCIAL.judge(AMERICAN, {}, morning)

    assert refusal is not None
    # Adak keeps Hawaii's time in winter.
    assert refusal.until == at("2026-11-24T09:00", "Pacific/Honolulu")
    assert "its country's 5" in refusal.reason


def test_a_column_knows_better_than_the_country() -> None:
    """A contact with its own time zone is judged by that zone alone."""
    morning = at("2026-11-24T09:30", "America/New_York")

    assert COMMERCIAL.judge(AMERICAN, {"timezone": " America/New_York "}, morning) is None


def test_a_number_of_no_country_is_not_dialled_in_the_dark() -> None:
    """A number of unknown time zone is refused permanently, unless a column gives the zone."""
    refusal = COMMERCIAL.judge(SATELLITE, {}, at("2026-11-24T12:00"))

    assert refusal == RuleDecision(
        rule="calling_window",
        reason="its time zone is unknown, since its calling code is: add a column timezone",
    )
    assert COMMERCIAL.judge(SATELLITE, {"timezone": "UTC"}, at("2026-11-24T12:00")) is None


def test_a_column_that_is_no_zone_is_refused() -> None:
    """An invalid time zone is refused permanently, and the reason does not repeat it."""
    refusal = COMMERCIAL.judge(INDIAN, {"timezone": "Mars/Olympus"}, at("2026-11-24T12:00"))

    assert refusal is not None
    assert refusal.until is None
    assert "column timezone is not a time zone" in refusal.reason
    assert "Mars" not in refusal.reason


def test_a_machine_without_the_zone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this machine lacks the time zone, the call is refused, and the reason names tzdata."""
    monkeypatch.setattr("telecmi_async.campaigns.window.zone_named", lambda name: None)
    monkeypatch.setattr("telecmi_async.campaigns.rules.zone_named", lambda name: None)

    refusal = COMMERCIAL.judge(INDIAN, {}, at("2026-11-24T12:00"))

    assert refusal is not None
    assert "install the package tzdata" in refusal.reason


def test_zones_that_never_share_an_hour_are_refused_for_good() -> None:
    """If the window never opens in all zones at once, the call is refused permanently."""
    rules = CampaignRules(window=CallingWindow("09:00", "12:00"))

    refusal = rules.judge(AMERICAN, {}, at("2026-11-24T12:00"))

    assert refusal is not None
    assert refusal.until is None
    assert "never open in all its time zones at once: add a column" in refusal.reason


@pytest.mark.parametrize(
    ("window", "zones", "hours"),
    [
        (CallingWindow("09:00", "21:00"), INDIA, 12),
        (CallingWindow("09:00", "21:00"), zones_of(AMERICAN), 5.5),
        (CallingWindow("09:00", "21:00"), ("America/New_York", "No/Where"), 12),
        (CallingWindow("09:00", "21:00", days=["mon"]), INDIA, 12),
        (CallingWindow("09:00", "21:00", holidays=["2026-11-26"]), INDIA, 12),
        (CallingWindow("00:00", "24:00"), ("Asia/Kolkata", "Pacific/Auckland"), 24),
        (CallingWindow("12:00", "13:00"), ("Asia/Kolkata", "Europe/Berlin"), 0),
        (CallingWindow("12:00", "13:00"), ("No/Where",), 0),
        (CallingWindow("12:00", "13:00"), (), 0),
    ],
)
def test_the_hours_a_day_are_those_that_all_zones_share(
    window: CallingWindow, zones: tuple[str, ...], hours: float
) -> None:
    """The mean of a week is what is left of the window in all of a country's time zones."""
    found = window.hours_a_day(zones, at("2026-11-24T15:30"))

    assert round(found, 1) == hours


def test_a_window_that_holidays_close_for_months_never_opens() -> None:
    """A window that stays closed for more than 92 days counts as never open."""
    days = [date(2026, 11, 24) + timedelta(days=n) for n in range(100)]
    rules = CampaignRules(window=CallingWindow("09:00", "21:00", holidays=days))

    refusal = rules.judge(INDIAN, {"timezone": "Asia/Kolkata"}, at("2026-11-24T12:00"))

    assert refusal is not None
    assert refusal.until is None
    assert refusal.reason.endswith("at once")


@pytest.mark.parametrize(("closed", "opens"), [(91, "2027-02-23T09:00"), (92, None)])
def test_a_window_is_looked_for_during_92_days(closed: int, opens: str | None) -> None:
    """The last day on which a window may open is the 92nd, today included."""
    days = [date(2026, 11, 24) + timedelta(days=n) for n in range(closed)]
    window = CallingWindow("09:00", "21:00", holidays=days)

    assert window.opening(("UTC",), at("2026-11-24T12:00")) == (opens and at(opens))


@pytest.mark.parametrize("end", ["09:30", "10:00", "10:30", "24:00"])
def test_a_phone_may_ring_for_less_than_the_window_and_an_hour(end: str) -> None:
    """One second less than the window is open, or than an hour, is a ring time."""
    longest = min(60, int(end[:2]) * 60 + int(end[3:]) - 540) * 60

    window = CallingWindow("09:00", end, ring_time=longest - 1)

    opens = at("2026-11-24T09:00")
    assert window.opening(("UTC",), opens - 3600) == opens
    for wrong in (longest, longest + 1):
        with pytest.raises(ConfigurationError, match="ring_time must be less than") as caught:
            CallingWindow("09:00", end, ring_time=wrong)
        assert ("would never be open" in str(caught.value)) is (longest < 3600)


def test_a_window_of_a_minute_has_a_default_ring_time_of_one() -> None:
    """A ring time of 60 s is the default, and ends calls a minute before the end."""
    window = CallingWindow("09:00", "09:02")

    assert window.ring_time == 60.0
    assert window == CallingWindow("09:00", "09:02", ring_time=timedelta(minutes=1))
    assert window.opening(("UTC",), at("2026-11-24T09:00:59")) == at("2026-11-24T09:00:59")
    assert window.opening(("UTC",), at("2026-11-24T09:01:00")) == at("2026-11-25T09:00")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("00:00", True), ("19:59", True), ("23:59", True), ("20:00", True), ("09:00 ", False),
        ("24:00", True), ("24:01", False), ("25:00", False), ("09:60", False), ("9:00", False),
        ("09:0\u0660", False), ("0900", False), ("-9:00", False), ("09:00\n", False),
    ],
)  # fmt: skip
def test_a_time_is_two_digits_twice(text: str, fits: bool) -> None:
    """Times go from 00:00 to 24:00, in digits of ASCII."""
    start, end = ("00:00", text) if text == "24:00" else (text, "24:00")

    if fits:
        assert str(CallingWindow(start, end, ring_time=1)) == f"{start}-{end}"
    else:
        with pytest.raises(ConfigurationError, match="start must be a time such as"):
            CallingWindow(start, end)


@pytest.mark.parametrize(
    ("name", "opens"),
    [
        ("mon", "2026-11-23"), ("tue", "2026-11-24"), ("wed", "2026-11-25"), ("thu", "2026-11-26"),
        ("fri", "2026-11-27"), ("sat", "2026-11-28"), ("sun", "2026-11-29"),
    ],
)  # fmt: skip
def test_each_day_of_the_week_has_its_name(name: str, opens: str) -> None:
    """A window of one day opens on that day."""
    window = CallingWindow("09:00", "17:00", days=[name])

    assert window.opening(("UTC",), at("2026-11-23T00:00")) == at(f"{opens}T09:00")


@pytest.mark.parametrize("name", ["days", "holidays"])
def test_days_and_holidays_are_several(name: str) -> None:
    """A text is no list of days, and the error names the field."""
    with pytest.raises(
        ConfigurationError, match=f"CallingWindow.{name} must be a list or a set"
    ):
        CallingWindow("09:00", "17:00", **{name: "2026-12-25"})  # type: ignore[arg-type]  # on purpose


def test_zones_whose_hours_only_meet_share_none() -> None:
    """Where one zone's last call is due as another's window opens, no instant is in both."""
    window = CallingWindow("09:00", "12:00", ring_time=1800)

    # Both at 06:00 UTC.
    assert window.opening(("Asia/Kolkata", "Europe/Moscow"), at("2026-11-24T00:00")) is None


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_days_and_holidays_come_in_any_collection(kind: Any) -> None:
    """Days and holidays are kept in their order, once each."""
    window = CallingWindow(
        "09:00",
        "17:00",
        days=kind(["sun", "mon", "sun"]),
        holidays=kind([date(2026, 12, 25), "2026-01-01", "2026-12-25"]),
    )

    assert window.days == ("mon", "sun")
    assert window.holidays == (date(2026, 1, 1), date(2026, 12, 25))


@pytest.mark.parametrize(
    "day", [datetime(2026, 1, 1, tzinfo=UTC), None, 20260101, b"2026-01-01"]
)
def test_a_holiday_is_a_date(day: Any) -> None:
    """A datetime has a time of day, so it is refused, as is all that is no date."""
    with pytest.raises(
        ConfigurationError, match=r'holidays must hold dates such as "2026-12-25"'
    ):
        CallingWindow("09:00", "17:00", holidays=[day])


def test_days_and_holidays_are_the_callees() -> None:
    """Days and holidays follow the date at the callee."""
    window = CallingWindow(
        "09:00", "17:00", days={"fri", "mon", "tue"}, holidays=["2026-11-30", date(2026, 12, 1)]
    )
    friday = at("2026-11-27T16:59:30", "Asia/Kolkata")

    assert window.opening(INDIA, friday) == at("2026-12-04T09:00", "Asia/Kolkata")
    assert str(window) == "09:00-17:00 mon tue fri"


def test_the_night_on_which_the_clock_goes_forward() -> None:
    """A window that starts in the hour skipped by daylight saving time opens right after it."""
    window = CallingWindow("02:30", "06:00")
    before = at("2026-03-29T01:30", "Europe/Berlin")

    opens = window.opening(("Europe/Berlin",), before)

    assert opens == at("2026-03-29T03:00", "Europe/Berlin") == before + 1800


def test_the_night_on_which_the_clock_goes_back() -> None:
    """An hour repeated by daylight saving time is inside or outside the window both times."""
    window = CallingWindow("01:00", "02:30")
    first = at("2026-10-25T02:29:30", "Europe/Berlin")

    opens = window.opening(("Europe/Berlin",), first)

    # 02:29:30 is less than a ring time before 02:30; half an hour later it is 02:00 again.
    assert opens == first + 1830
    assert datetime.fromtimestamp(opens, ZoneInfo("Europe/Berlin")).isoformat() == (
        "2026-10-25T02:00:00+01:00"
    )


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Europe/Chisinau", "2026-03-29"),  # forward, at 00:00 UTC
        ("Europe/Chisinau", "2026-10-25"),  # back, at 00:00 UTC
        ("Asia/Jerusalem", "2026-03-27"),  # forward, at 00:00 UTC
        ("Asia/Jerusalem", "2026-10-25"),  # back, at 23:00 UTC of the day before
    ],
)
def test_a_clock_that_changes_as_a_utc_day_ends(zone: str, midnight: str) -> None:
    """A phone that would ring past the change is not called, also if another UTC day begins."""
    window = CallingWindow("01:00", "02:45", ring_time=1200)
    end = at(midnight)

    for minute in range(-120, 120):
        now = end + 60 * minute
        assert (window.opening((zone,), now) == now) is open_by_the_wall(window, (zone,), now)


def open_by_the_wall(window: CallingWindow, zones: tuple[str, ...], now: float) -> bool:
    """Return whether all local clocks are in the window, now and one ring time later."""
    for zone in zones:
        for instant in (now, now + window.ring_time):
            wall = datetime.fromtimestamp(instant, ZoneInfo(zone))
            if not (
                DAYS[wall.weekday()] in window.days
                and wall.date() not in window.holidays
                and window.start <= wall.strftime("%H:%M") < window.end
            ):
                return False
    return True


ZONES = [
    "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Beirut",
    "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "America/Havana", "UTC",
]  # fmt: skip
WALLS = st.sampled_from(
    ["00:00", "00:30", "01:00", "01:59", "02:30", "03:00", "09:00", "12:15", "21:00", "24:00"]
)
# Nights on which one of these zones changes its clock, and any other time.
MOMENTS = st.one_of(
    st.sampled_from(
        [at(f"2026-{day}T00:00") for day in ("03-08", "03-28", "04-04", "10-24", "11-01")]
    ),
    st.integers(0, 2**31 - 10**7).map(float),
)


@given(
    WALLS, WALLS, st.sets(st.sampled_from(DAYS), min_size=1), st.sampled_from([1, 60, 1800]),
    st.lists(st.sampled_from(ZONES), min_size=1, max_size=3, unique=True).map(tuple),
    MOMENTS, st.integers(0, 200_000),
)  # fmt: skip
def test_the_window_is_what_the_walls_show(
    one: str,
    other: str,
    days: set[str],
    ring: int,
    zones: tuple[str, ...],
    day: float,
    then: int,
) -> None:
    """The window is open when all local clocks say so; `opening` gives the first opening."""
    try:
        window = CallingWindow(*sorted((one, other)), days=days, ring_time=ring)
    except ConfigurationError:
        return
    now = day + then

    opens = window.opening(zones, now)

    assert (opens == now) is open_by_the_wall(window, zones, now)
    if opens is not None:
        assert open_by_the_wall(window, zones, opens)
    tries = [now + 61.7 * n for n in range(200)]
    assert [
        t for t in tries if open_by_the_wall(window, zones, t) and (opens is None or t < opens)
    ] == []


def test_a_judgement_costs_microseconds() -> None:
    """The opening hours of a day and country are cached for the next contact."""
    noon = at("2026-11-24T12:00")
    COMMERCIAL.judge(AMERICAN, {}, noon)
    before = window_module._hours.cache_info().misses

    for second in range(100):
        COMMERCIAL.judge(AMERICAN, {}, noon + second)

    assert window_module._hours.cache_info().misses == before


# --- freshness --------------------------------------------------------------------------


def test_what_is_not_fresh_is_not_dialled() -> None:
    """The earlier of the campaign's and the contact's `not_after` applies."""
    rules = CampaignRules(not_after=datetime(2026, 11, 24, tzinfo=UTC))
    limit = at("2026-11-24T00:00")

    assert rules.judge(SATELLITE, {}, limit) is None
    assert rules.judge(SATELLITE, {}, limit, not_after=limit - 1) == rules.judge(
        SATELLITE, {}, limit + 1
    )
    assert rules.judge(SATELLITE, {}, limit + 1) == RuleDecision(
        rule="not_fresh", reason="it has expired"
    )


def test_a_window_that_opens_too_late_is_not_waited_for() -> None:
    """A contact that expires before its window opens is refused at once, permanently."""
    now = at("2026-11-24T20:59:30", "Asia/Kolkata")

    refusal = COMMERCIAL.judge(INDIAN, {}, now, not_after=now + 3600)

    assert refusal is not None
    assert (refusal.rule, refusal.until) == ("not_fresh", None)


@pytest.mark.parametrize(("left", "waits"), [(-1, False), (0, True), (1, True)])
def test_a_window_that_opens_as_a_contact_expires_is_waited_for(left: int, waits: bool) -> None:
    """The last instant of a contact is one at which it may be called."""
    now, opens = (at(f"2026-11-24T{t}", "Asia/Kolkata") for t in ("08:00", "09:00"))

    refusal = COMMERCIAL.judge(INDIAN, {}, now, not_after=opens + left)

    assert refusal is not None
    assert (refusal.rule, refusal.until) == (
        ("calling_window", opens) if waits else ("not_fresh", None)
    )


# --- limits that the ledger checks ------------------------------------------------------


def test_nothing_is_limited_but_by_the_do_not_call_list() -> None:
    """Without rules, only the do-not-call list applies."""
    assert CampaignRules().limits(1e9) == SendLimits()
    assert CampaignRules().limits(1e9).check_do_not_call
    assert CampaignRules().judge(SATELLITE, {}, 1e9) is None
    assert not CampaignRules(do_not_call=False).limits(1e9).check_do_not_call


def test_the_ledger_is_told_every_cap() -> None:
    """Frequency, daily and cost caps are all passed to the intent's transaction."""
    rules = CampaignRules(
        per_number=[FrequencyCap(1, per=timedelta(hours=1)), FrequencyCap(3, per=86_400)],
        per_day=DailyCap(500, timezone="Asia/Kolkata"),
        cost=CostCap(250.5),
    )

    limits = rules.limits(at("2026-11-24T20:00"))

    assert limits == SendLimits(
        per_number=((1, 3600.0), (3, 86_400)),
        per_day=500,
        cost=250.5,
        day_began=at("2026-11-25T00:00", "Asia/Kolkata"),
    )


def test_a_day_begins_at_midnight_on_nights_that_have_none() -> None:
    """Where the clock skips midnight, as in Beirut, the day begins at the skip."""
    noon = at("2026-03-29T12:00", "Asia/Beirut")

    assert DailyCap(1, timezone="Asia/Beirut").began(noon) == at("2026-03-28T22:00")


# --- as JSON ----------------------------------------------------------------------------

WINDOWS = st.builds(
    CallingWindow,
    st.sampled_from(["00:00", "08:30"]),
    st.sampled_from(["21:00", "24:00"]),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    holidays=st.lists(st.dates()),
    ring_time=st.floats(1, 3599),
)
RULES = st.builds(
    CampaignRules,
    window=st.none() | WINDOWS,
    per_number=st.lists(
        st.builds(FrequencyCap, st.integers(1, 99), per=st.timedeltas(timedelta(seconds=1)))
    ),
    per_day=st.none()
    | st.builds(DailyCap, st.integers(1), timezone=st.sampled_from(["UTC", "Asia/Kolkata"])),
    cost=st.none() | st.builds(CostCap, st.floats(0.01, 1e9)),
    not_after=st.none() | st.floats(0, 4e9) | st.datetimes(timezones=st.just(UTC)),
    do_not_call=st.booleans(),
)


@given(RULES)
@example(CampaignRules())
def test_rules_survive_json(rules: CampaignRules) -> None:
    """Rules dumped to JSON and parsed again are equal."""
    assert CampaignRules.parse(json.loads(json.dumps(rules.dump()))) == rules


def test_a_person_may_leave_out_what_has_a_default() -> None:
    """Fields with a default may be missing from the JSON."""
    rules = CampaignRules.parse(
        {"window": {"start": "09:00", "end": "21:00"}, "cost": {"most": 9}}
    )

    assert rules == CampaignRules(window=CallingWindow("09:00", "21:00"), cost=CostCap(9))


def test_a_cap_may_be_a_decimal_as_costs_are() -> None:
    """A cost cap takes the type that costs of calls have, and survives JSON."""
    rules = CampaignRules(cost=CostCap(Decimal("20.50")))

    assert rules.cost == CostCap(20.5)
    assert CampaignRules.parse(json.loads(json.dumps(rules.dump()))) == rules


def test_no_rule_is_hidden() -> None:
    """Each rule is described in words, and so is the do-not-call list."""
    rules = CampaignRules(
        window=CallingWindow("09:00", "21:00", holidays=["2026-12-25"]),
        per_number=FrequencyCap(3, per=86_400),
        per_day=DailyCap(100),
        cost=CostCap(50),
        not_after=at("2026-12-01T00:00"),
    )

    window = (
        "calls start 09:00-21:00, 60 s before its end at the latest, in the callee's time zone"
    )
    assert rules.describe() == (
        f"{window}, closed on holidays (1)",
        "a number at most 3 times in 1 day",
        "at most 100 a day (UTC)",
        "no more once they have cost 50",
        "none after 2026-12-01 00:00:00+00:00",
        "the do-not-call list applies",
    )
    assert CampaignRules(do_not_call=False).describe() == (
        "the do-not-call list does NOT apply",
    )
    assert "holidays" not in COMMERCIAL.describe()[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"rules must be an object"),
        ({"windows": None}, r'no member "windows": did you mean "window"'),
        ({"window": "09-21"}, r"rules\.window must be an object"),
        ({"window": {"start": "09:00"}}, r"rules\.window\.end is missing"),
        ({"per_number": [{"count": 1, "in": 2}]}, r"rules\.per_number\[0\] has no member"),
        ({"per_number": 3}, r"CampaignRules\.per_number must be a FrequencyCap.*not 3"),
        ({"do_not_call": "yes"}, r"CampaignRules\.do_not_call must be True or False"),
    ],
)
def test_json_that_holds_no_rules_is_refused(data: Any, message: str) -> None:
    """Invalid JSON rules raise an error with the path and the expected value."""
    with pytest.raises(ConfigurationError, match=message):
        CampaignRules.parse(data)


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (CallingWindow, {"start": "9:00", "end": "21:00"}, r'start must be a time such as "09:00"'),
    (CallingWindow, {"start": "09:00", "end": "24:01"}, r"end must be a time"),
    (CallingWindow, {"start": 9, "end": "21:00"}, r"start must be a time.*not 9"),
    (CallingWindow, {"start": "21:00", "end": "09:00"}, r"end must be later than its start"),
    (
        CallingWindow,
        {"start": "09:00", "end": "10:00", "ring_time": 3600},
        r"less than an hour",
    ),
    (CallingWindow, {"start": "09:00", "end": "09:01"}, r"less than 60 seconds: the window"),
    (
        CallingWindow,
        {"start": "09:00", "end": "21:00", "ring_time": -1},
        r"ring_time must be a",
    ),
    (CallingWindow, {"start": "09:00", "end": "21:00", "days": ["Mon"]}, r'days.*not "Mon"'),
    (CallingWindow, {"start": "09:00", "end": "21:00", "days": "mon"}, r"days must be a list"),
    (
        CallingWindow,
        {"start": "09:00", "end": "21:00", "days": []},
        r"days must hold.*not none",
    ),
    (CallingWindow, {"start": "09:00", "end": "21:00", "days": [1]}, r"days must hold.*not 1"),
    (CallingWindow, {"start": "09:00", "end": "21:00", "holidays": ["x"]}, r'dates.*not "x"'),
    (CallingWindow, {"start": "09:00", "end": "21:00", "holidays": [7]}, r"dates.*not 7"),
    (FrequencyCap, {"count": 0, "per": 1}, r"count must be a whole number"),
    (FrequencyCap, {"count": 1, "per": 0}, r"per must be a positive number of seconds"),
    (DailyCap, {"count": 1, "timezone": "Mars"}, r'time zone that this machine.*not "Mars"'),
    (DailyCap, {"count": 1, "timezone": None}, r"time zone that this machine"),
    (CostCap, {"most": 0}, r"most must be a positive sum, not 0"),
    (CostCap, {"most": Decimal("NaN")}, r"most must be a positive sum, not nan"),
    (CostCap, {"most": Decimal("sNaN")}, r"most must be a positive sum, not a value of type"),
    (CostCap, {"most": Decimal("-0.5")}, r"most must be a positive sum, not -0.5"),
    (CostCap, {"most": Decimal("1e999")}, r"most must be a positive sum, not inf"),
    (CostCap, {"most": "5"}, r'most must be a positive sum, not "5"'),
    (CampaignRules, {"window": "09-21"}, r"window must be a CallingWindow or None"),
    (
        CampaignRules,
        {"per_number": [3]},
        r"per_number must be a FrequencyCap, or a list of them, not 3",
    ),
    (CampaignRules, {"not_after": datetime(2026, 1, 1)}, r"must have a time zone"),  # noqa: DTZ001  # the rejected value
    (CampaignRules, {"not_after": "soon"}, r"not_after must be a datetime"),
    (CampaignRules, {"not_after": math.nan}, r"not_after must be a datetime"),
    (CampaignRules, {"not_after": True}, r"not_after must be a datetime"),
    (CampaignRules, {"per_day": 100}, r"per_day must be a DailyCap or None, not 100"),
    (CampaignRules, {"cost": 100}, r"cost must be a CostCap or None, not 100"),
    (CostCap, {"most": -1}, r"most must be a positive sum, not -1"),
    (CostCap, {"most": math.inf}, r"most must be a positive sum"),
    (CostCap, {"most": True}, r"most must be a positive sum"),
    (CostCap, {"most": "9"}, r"most must be a positive sum"),
    (DailyCap, {"count": 0}, r"count must be a whole number"),
    (FrequencyCap, {"count": True, "per": 1}, r"count must be a whole number"),
]


@pytest.mark.parametrize(("kind", "given", "message"), WRONG)
def test_a_rule_that_cannot_work_cannot_exist(
    kind: Any, given: dict[str, Any], message: str
) -> None:
    """Each rule checks its values when it is created."""
    with pytest.raises(ConfigurationError, match=message):
        kind(**given)


@pytest.mark.parametrize(
    ("per", "words"),
    [
        (30, "in 30 s"), (90, "in 90 s"), (60, "in 1 minute"), (300, "in 5 minutes"),
        (3_600, "in 1 hour"), (14_400, "in 4 hours"), (86_400, "in 1 day"), (0.5, "in 0.5 s"),
    ],
)  # fmt: skip
def test_a_span_is_said_as_people_say_it(per: float, words: str) -> None:
    """Time spans are described in the largest whole unit."""
    assert CampaignRules(per_number=FrequencyCap(1, per=per)).describe()[0] == (
        f"a number at most once {words}"
    )


@pytest.mark.parametrize("end", ["09:00", "08:59"])
def test_a_window_ends_after_its_start(end: str) -> None:
    """A window without a minute is refused for its end, and not for its ring time."""
    with pytest.raises(ConfigurationError, match="end must be later than its start"):
        CallingWindow("09:00", end)


def test_the_details_of_a_window_are_named() -> None:
    """Days and holidays are keywords, so that neither is taken for the other."""
    with pytest.raises(TypeError, match="positional"):
        CallingWindow("09:00", "21:00", ["2026-12-25"])  # type: ignore[call-arg]  # on purpose
    with pytest.raises(TypeError, match="positional"):
        CallingWindow("09:00", "21:00", DAYS, ["2026-12-25"])  # type: ignore[call-arg]  # on purpose

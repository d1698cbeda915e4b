"""Contract checks of users' own stores and limits: they pass what is right, and name what is not."""

# ruff: noqa: D101  # the names of broken stores and limits say what is wrong with them

from __future__ import annotations

import inspect
import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import attrs
import pytest
from users_seams import FileLimits, FileStore

from telecmi_async._internal.event_loop import current_loop
from telecmi_async.events.store import MemoryStore, StoredEvent
from telecmi_async.testing import check_event_store, check_shared_limits, contract
from telecmi_async.testing.event_store_rules import EVENT_STORE_RULES
from telecmi_async.testing.shared_limits_rules import SHARED_LIMITS_RULES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence
    from pathlib import Path

    from telecmi_async.events.store import EventStore, Listener

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only briefly for what never comes."""
    monkeypatch.setattr(contract, "_PATIENCE", 0.5)
    monkeypatch.setattr(contract, "_ARRIVAL", 0.1)


async def test_a_store_that_was_written_from_the_docstrings_passes(tmp_path: Path) -> None:
    """An event store on SQLite keeps the contract, on both event loops."""
    names = itertools.count()

    @asynccontextmanager
    async def make() -> AsyncIterator[EventStore]:
        store = FileStore(tmp_path / f"{next(names)}.db")
        yield store
        store.close()

    await check_event_store(make)


async def test_limits_that_were_written_from_the_docstrings_pass(tmp_path: Path) -> None:
    """Shared limits behind a lock file keep the contract, on both event loops."""
    names = itertools.count()

    @asynccontextmanager
    async def make() -> AsyncIterator[FileLimits]:
        yield FileLimits(tmp_path / f"{next(names)}.json", clock=anyio.current_time)

    await check_shared_limits(make)


# -- stores that break one rule


class Wrapped:
    """A store that passes everything on; each class below does one thing wrong."""

    shared: Any = False

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.puts = 0

    async def put(self, stored: StoredEvent) -> bool:
        self.puts += 1
        return await self.inner.put(stored)

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        return await self.inner.get(ids)

    async def claim(self, key: str) -> bool:
        return await self.inner.claim(key)

    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        async with self.inner.follow(listener):
            yield


class SaysNothingOfSharing(Wrapped):
    shared = None


class TakesRepeats(Wrapped):
    async def put(self, stored: StoredEvent) -> bool:
        await super().put(stored)
        return True


class ReturnsTheNewestFirst(Wrapped):
    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        return (await super().get(ids))[::-1]


class ReadsOnce(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self.read = set[str]()

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        found = [each for each in await super().get(ids) if each.key not in self.read]
        self.read |= {each.key for each in found}
        return found


class LosesIds(Wrapped):
    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        return [attrs.evolve(each, ids=each.ids[:0]) for each in await super().get(ids)]


class LosesWhetherItMatched(Wrapped):
    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        return [attrs.evolve(each, matched=True) for each in await super().get(ids)]


class LosesBytes(Wrapped):
    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        return [
            attrs.evolve(each, payload=each.payload.replace(b" ", b""))
            for each in await super().get(ids)
        ]


class MatchesPatterns(Wrapped):
    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        return await self.inner.get(["a b", "a:b"] if "*" in ids else ids)


class DropsWhatHasNoId(Wrapped):
    async def put(self, stored: StoredEvent) -> bool:
        return await super().put(stored) if stored.ids else True


class ClaimsForEver(Wrapped):
    async def claim(self, key: str) -> bool:
        await super().claim(key)
        return True


class ClaimsWithoutMatching(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self.claimed = set[str]()

    async def claim(self, key: str) -> bool:
        fresh = key not in self.claimed and key not in self.inner._seen
        self.claimed.add(key)
        return fresh


class SeesARepeatInAMatchedOne(Wrapped):
    async def put(self, stored: StoredEvent) -> bool:
        known = stored.key in self.inner._unmatched.kept
        return await super().put(stored) and not known


class ClaimsWhatIsMatched(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self.claimed = set[str]()

    async def claim(self, key: str) -> bool:
        fresh = key not in self.claimed
        self.claimed.add(key)
        await super().claim(key)
        return fresh


class ClaimsOnlyWhatItKnows(Wrapped):
    async def claim(self, key: str) -> bool:
        return key in self.inner._unmatched.kept and await super().claim(key)


class LooksBeforeItPuts(Wrapped):
    async def put(self, stored: StoredEvent) -> bool:
        known = stored.key in self.inner._seen
        await anyio.sleep(0.001)
        return (await super().put(stored)) or not known


class TellsAll(Wrapped):
    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        class Deaf:
            wants = staticmethod(lambda _ids: True)
            take = listener.take
            waiting = listener.waiting

        async with self.inner.follow(Deaf()):
            yield


class TellsNone(Wrapped):
    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        yield


class GoesOnTelling(Wrapped):
    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        self.inner._listeners.append((listener, current_loop()))
        yield


class TellsTheFirst(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self.followed = False

    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        if self.followed:
            yield
            return
        self.followed = True
        async with self.inner.follow(listener):
            yield


class SortsIds(Wrapped):
    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        return [attrs.evolve(e, ids=tuple(sorted(e.ids))) for e in await super().get(ids)]


class ReadsOnlyUtf8(Wrapped):
    async def put(self, stored: StoredEvent) -> bool:
        text = stored.payload.decode("utf-8", "replace")
        return await super().put(attrs.evolve(stored, payload=text.encode()))


class LeavesItsPlace(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self.order = list[str]()

    async def put(self, stored: StoredEvent) -> bool:
        self.order.append(stored.key)
        return await super().put(stored)

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        return sorted(await super().get(ids), key=lambda each: self.order.index(each.key))


class ForgetsWhatItWasAsked(Wrapped):
    async def put(self, stored: StoredEvent) -> bool:
        fresh = await super().put(stored)
        await anyio.lowlevel.checkpoint()
        return fresh


class TellsBeforeItKeeps(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[Listener] = []

    async def put(self, stored: StoredEvent) -> bool:
        for listener in self.listeners:
            listener.take(stored)
        self.late = stored
        return True

    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        self.listeners.append(listener)
        yield


class GroupsErrors(Wrapped):
    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        async with anyio.create_task_group(), self.inner.follow(listener):
            yield


class SwallowsErrors(Wrapped):
    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        try:
            yield
        except LookupError:
            return


class Fails(Wrapped):
    async def put(self, stored: StoredEvent) -> bool:
        raise ConnectionError("no server")


class FailsToClaim(Wrapped):
    async def claim(self, key: str) -> bool:
        raise ConnectionError("no server")


class Hangs(Wrapped):
    async def claim(self, key: str) -> bool:
        await anyio.sleep_forever()
        return True


BROKEN: dict[type[Wrapped], str] = {
    SaysNothingOfSharing: "is_shared_or_not",
    TakesRepeats: "keeps_an_event_once",
    ReturnsTheNewestFirst: "finds_events_by_each_id_in_their_order",
    ReadsOnce: "keeps_what_was_read",
    LosesIds: "returns_an_event_as_it_was",
    LosesWhetherItMatched: "returns_an_event_as_it_was",
    LosesBytes: "returns_an_event_as_it_was",
    MatchesPatterns: "takes_any_id",
    DropsWhatHasNoId: "takes_an_event_without_ids",
    ClaimsForEver: "lets_an_unmatched_event_be_claimed_once",
    ClaimsWithoutMatching: "lets_an_unmatched_event_be_claimed_once",
    SeesARepeatInAMatchedOne: "takes_an_event_anew_that_is_matched_now",
    ClaimsWhatIsMatched: "refuses_to_claim_a_matched_event",
    ClaimsOnlyWhatItKnows: "lets_an_unknown_key_be_claimed_once",
    LooksBeforeItPuts: "has_one_first_of_many",
    TellsAll: "gives_listeners_what_they_want",
    TellsTheFirst: "gives_listeners_what_they_want",
    SortsIds: "returns_an_event_as_it_was",
    ReadsOnlyUtf8: "reads_any_body",
    LeavesItsPlace: "puts_an_event_last_that_is_matched_now",
    ForgetsWhatItWasAsked: "gives_a_lost_answer_again",
    TellsNone: "gives_listeners_what_they_want",
    GoesOnTelling: "gives_listeners_what_they_want",
    TellsBeforeItKeeps: "keeps_an_event_before_listeners_get_it",
    GroupsErrors: "raises_what_the_body_of_follow_raises",
    SwallowsErrors: "raises_what_the_body_of_follow_raises",
    Fails: "keeps_an_event_once",
    Hangs: "has_one_first_of_many",
}


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
async def test_a_store_that_breaks_a_rule_is_named_by_it(kind: type[Wrapped]) -> None:
    """The error names the rule in words, and has its own error as a cause."""

    @asynccontextmanager
    async def make() -> AsyncIterator[EventStore]:
        yield kind()

    with pytest.raises(
        AssertionError, match=r"^this EventStore breaks \d+ of \d+ rules:\n- "
    ) as caught:
        await check_event_store(make)

    assert f"({BROKEN[kind]})" in str(caught.value)
    assert isinstance(caught.value.__cause__, ExceptionGroup)


# -- limits that break one rule


class FaultyLimits(FileLimits):
    """Limits on a clock of their own, which do one thing wrong."""


class SavesUp(FaultyLimits):
    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        waits = await super().reserve(keys, longest=longest, most=most)
        with self._step() as kept:
            for name, interval in keys:
                if waits and interval < 1.0:
                    kept["dues"][name] -= interval
        return waits


class GrantsBeyond(FaultyLimits):
    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        return await super().reserve(keys, longest=1e9, most=most)


class GrantsOneByOne(FaultyLimits):
    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        return await super().reserve(keys, longest=longest, most=1)


class CountsEachAlone(FaultyLimits):
    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        waits = [
            await super(CountsEachAlone, self).reserve([key], longest=longest, most=most)
            for key in keys
        ]
        return max(waits) if all(waits) else []


class GivesTwice(FaultyLimits):
    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        waits = await super().reserve(keys, longest=longest, most=most)
        if longest == 10_000:
            return [wait - wait % 20 for wait in waits]
        return waits


class LeasesAnother(FaultyLimits):
    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        return await super().lease_channel(key, holder, limit=limit + 1, seconds=seconds)


class FreesNothing(FaultyLimits):
    async def free_channel(self, key: str, holder: str) -> None:
        return


class FreesOnlyWhatIsHeld(FaultyLimits):
    async def free_channel(self, key: str, holder: str) -> None:
        with self._step() as kept:
            del kept["leases"][key][holder]


class RenewsBeyondTheLimit(FaultyLimits):
    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        with self._step() as kept:
            held = holder in kept.get("leases", {}).get(key, {})
        limit = 9 if held else limit
        return await super().lease_channel(key, holder, limit=limit, seconds=seconds)


class LeasesForEver(FaultyLimits):
    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        return await super().lease_channel(key, holder, limit=limit, seconds=1e9)


class KeepsTheFirstLease(FaultyLimits):
    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        with self._step() as kept:
            held = kept.get("leases", {}).get(key, {}).get(holder, 0.0)
        if held > time.time():
            return True
        return await super().lease_channel(key, holder, limit=limit, seconds=seconds)


FAULTY: dict[type[FaultyLimits], str] = {
    SavesUp: "saves_nothing_up",
    GrantsBeyond: "spaces_starts",
    GrantsOneByOne: "reserves_several_at_once",
    CountsEachAlone: "grants_under_all_limits_or_none",
    GivesTwice: "gives_no_start_twice",
    LeasesAnother: "leases_channels",
    FreesNothing: "leases_channels",
    FreesOnlyWhatIsHeld: "leases_channels",
    RenewsBeyondTheLimit: "leases_channels",
    LeasesForEver: "ends_leases_in_time",
    KeepsTheFirstLease: "ends_leases_in_time",
}


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("kind", FAULTY, ids=lambda kind: kind.__name__)
async def test_limits_that_break_a_rule_are_named_by_it(
    kind: type[FaultyLimits], tmp_path: Path
) -> None:
    """The error names the rule in words."""
    names = itertools.count()
    # A lease must not end between two questions, or its fault is not seen.
    nearly = 0.1 if FAULTY[kind] == "ends_leases_in_time" else 0.02

    @asynccontextmanager
    async def make() -> AsyncIterator[FileLimits]:
        yield kind(tmp_path / f"{next(names)}.json")

    with pytest.raises(
        AssertionError, match=r"^this SharedLimits breaks \d+ of \d+ rules:\n- "
    ) as caught:
        await check_shared_limits(make, nearly=nearly)

    assert f"({FAULTY[kind]})" in str(caught.value)


@pytest.mark.usefixtures("patience")
async def test_a_message_says_what_happened_in_a_line() -> None:
    """What hangs is said to hang, and of a hundred errors the first one is named."""

    @asynccontextmanager
    async def hangs() -> AsyncIterator[EventStore]:
        yield Hangs()

    @asynccontextmanager
    async def fails() -> AsyncIterator[EventStore]:
        yield FailsToClaim()

    with pytest.raises(AssertionError) as hung:
        await check_event_store(hangs)
    with pytest.raises(AssertionError) as failed:
        await check_event_store(fails)

    assert "\n  still running after 0.5 seconds" in str(hung.value)
    many = next(part for part in str(failed.value).split("\n- ") if part.startswith("Of many"))
    assert many.endswith("\n  it raised ConnectionError('no server')")
    assert "Group" not in str(failed.value)


def test_each_rule_is_a_sentence_that_some_fault_breaks() -> None:
    """Every rule has its words, and a fault above shows that it can fail."""
    rules = {
        rule.__name__: inspect.getdoc(rule)
        for rule in (*EVENT_STORE_RULES, *SHARED_LIMITS_RULES)
    }

    assert all(text and text.endswith(".") for text in rules.values())
    assert rules.keys() - {"leaves_follow_when_cancelled", "follows_the_law"} == {
        *BROKEN.values(), *FAULTY.values(),
    }  # fmt: skip

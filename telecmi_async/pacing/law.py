"""Pacing: the law of even spacing, its margins, and where it is computed.

The law is GCRA (generic cell rate algorithm) with a burst of one. A limit is one number, the
time at which its next start is due. A call that counts under several limits starts when the
last of them allows it, and each limit counts it from that moment::

    start = max(now, due of each limit)
    due of each limit = start + interval of that limit

Had a limit counted the call earlier, the call would come on top of the starts that this limit
has granted for the moment at which it really starts.

The law is computed where the clock is that all its users share:

- one service, in process: `telecmi_async.pacing.spacing`, behind `telecmi_async.pacing.gate`;
- a SQLite ledger: `reserve_starts` below, in a transaction (``ledger/sqlite/limits.py``);
- a PostgreSQL ledger: the function ``reserve`` in ``ledger/schema/postgres/``;
- a Redis or Valkey server: ``pacing/lua/reserve.lua``.

Live calls have the same four homes: `telecmi_async.pacing.channels`, and ``lease_channel``
beside each of the other three. `telecmi_async.pacing.shared` is the contract, and
one suite of tests runs over all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: By how much an interval is longer than ``1 / rate`` in one process. The limit holds for the
#: moments at which calls arrive at TeleCMI, and no two take the same time to get there: with 0.8 %
#: to spare, a few milliseconds of difference still fit into a second. 99.2 % of the rate are left.
LOCAL_MARGIN: Final = 1.008
#: The same for limits that processes share. It is larger, since no process sees all starts and
#: each is late independently of the others. 98.4 % of the rate are left.
SHARED_MARGIN: Final = 1.016
#: How late a start may be, in seconds. In process, a later one is charged at the time at which it
#: happened (as is one that is later than its interval, except at high rates: see
#: `BUNCHED_STARTS`), and no longer at the time it was scheduled for. Between processes it is
#: exchanged for another (unless it is no later than half an interval), whether a timer, a frozen
#: process or a ledger that stalled made it late: it would come on top of the starts that others
#: were granted for then.
LATE_START: Final = 0.02
#: How close starts are, in seconds, that no event loop can keep even, since a timer is up to a
#: millisecond late and other work takes a few. In one process, those that come due meanwhile leave
#: together, as many as belong to the last `LATE_START`: at 5,000 a second that is up to 100.
BUNCHED_STARTS: Final = 0.005
#: How much later than usual an answer of the limits may come, in seconds, or half an interval. Then
#: it is unclear when its starts are. It concerns those alone, and not all sends as a stalled ledger
#: does, so it is more than `LATE_START`: a busy machine delays an answer in twenty by as much.
LATE_ANSWER: Final = 0.05
#: How much earlier than its start an intent is begun, at most, in seconds. A ledger that is always
#: slow must not make each start late. What is on record and not sent yet is unknown if its worker
#: is killed, so it is not begun earlier than its ledger needs.
LONGEST_LEAD: Final = 1.0
#: From how many of the last intents, or answers of the limits, it is known what is usual.
RECENT: Final = 32
#: Shared starts that are closer together than this, in seconds, are reserved ahead: the next one
#: would be over before the answer to a question for it is there.
CLOSE_STARTS: Final = 0.02
#: How many starts are reserved ahead, at most: the larger of this number and the starts of so many
#: seconds. It is also how many calls come too late if a process freezes. What `SHARED_MARGIN`
#: spares in a second covers two such processes at 500 calls a second, and four at higher rates.
RESERVED_AHEAD: Final = (2, 0.004)


def reserve_starts(
    now: float,
    dues: Mapping[str, float],
    limits: Sequence[tuple[str, float]],
    *,
    longest: float,
    most: int,
) -> tuple[list[float], dict[str, float]]:
    """Return how long to wait for some starts, and when each limit is due afterwards.

    Args:
        now: The time, in seconds.
        dues: When the next start of a limit is due; a limit that is missing is due now.
        limits: Pairs of a limit's name and its interval in seconds.
        longest: The longest wait that is of use, in seconds.
        most: How many starts to reserve, as far as none of them is further away than that.

    Returns:
        The waits in seconds, the shortest first, and the new ``dues`` of these limits; both are
        empty if even the first start is too far away.
    """
    start = max(now, *(dues.get(name, now) for name, _ in limits))
    apart = max(interval for _, interval in limits)
    waits = [start - now + apart * n for n in range(most)]
    waits = [wait for wait in waits if wait <= longest]
    if not waits:
        return [], {}
    last = now + waits[-1]
    return waits, {name: last + interval for name, interval in limits}

"""Bulk dialling that survives: contacts in a ledger, and one request each, whatever happens."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final, Self, cast

import anyio

from telecmi_async._internal import validators
from telecmi_async._internal.messages import did_you_mean
from telecmi_async.campaigns.evidence import put_on_record, record_of, release_channel
from telecmi_async.campaigns.settings import CampaignSettings
from telecmi_async.campaigns.timeouts import CampaignTimeouts
from telecmi_async.campaigns.worker import Worker
from telecmi_async.errors import ConfigurationError, StoreError
from telecmi_async.events.reference import reference_in
from telecmi_async.ledger import ContactState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from telecmi_async.events import Event
    from telecmi_async.events.receiver import Receiver
    from telecmi_async.ledger import CampaignState, Ledger, Loaded, NewContact
    from telecmi_async.pacing.shared import SharedLimits
    from telecmi_async.service.service import CallService

__all__ = ["Campaign"]

logger = logging.getLogger("telecmi_async")

_POLL: Final = 1.0


class Campaign:
    """Dials the contacts of a ledger, each once, from any number of workers.

    Args:
        ledger: Where the contacts are; open.
        service: Places the calls; open. Give it a receiver, so that calls are heard of.
        name: The campaign's name in the ledger.
        settings: What it is begun with; not needed where the ledger has it.
        receiver: The service's receiver, whose events tell how calls went.
        worker: This worker's name in the ledger; a random one if not given. No two may have
            the same at one time.
        timeouts: How long it waits for things; the defaults do.
        limits: What all workers share the pace by, if not by the ledger, such as a
            `telecmi_async.pacing.RedisLimits`. While they fail, nothing is dialled.
    """

    def __init__(
        self,
        ledger: Ledger,
        service: CallService,
        name: str,
        settings: CampaignSettings,
        *,
        receiver: Receiver | None = None,
        worker: str | None = None,
        timeouts: CampaignTimeouts | None = None,
        limits: SharedLimits | None = None,
    ) -> None:
        for what, given in (("name", name), ("worker", worker or "random")):
            validators.name(self, validators.Named(what), given)
        self.name = name
        self.settings = settings
        self._ledger = ledger
        self._receiver = receiver
        self._limits = limits
        self._timeouts = timeouts or CampaignTimeouts()
        self._running = False
        # By how much the ledger's clock is ahead of the event loop's, at the least so far.
        self._least_ahead = math.inf
        self._worker = Worker(
            ledger, service, name, settings, self._timeouts, name=worker, limits=limits
        )
        if receiver is not None:
            receiver.on_event(self._hear)

    def __repr__(self) -> str:
        return f"<Campaign {self.name!r}{', running here' if self._running else ''}>"

    @classmethod
    async def attach(
        cls,
        ledger: Ledger,
        service: CallService,
        name: str,
        *,
        receiver: Receiver | None = None,
        worker: str | None = None,
        timeouts: CampaignTimeouts | None = None,
        limits: SharedLimits | None = None,
    ) -> Self:
        """Return a campaign that was begun before, by whomever.

        Raises:
            ConfigurationError: There is none of that name.
            StoreError: The ledger fails.
        """
        data = await ledger.settings(name)
        if data is None:
            names = await ledger.campaigns()
            hint = did_you_mean(name, names) if names else "it has none"
            raise ConfigurationError(f"there is no campaign {name!r} in this ledger: {hint}")
        settings = CampaignSettings.parse(data)
        return cls(
            ledger,
            service,
            name,
            settings,
            receiver=receiver,
            worker=worker,
            timeouts=timeouts,
            limits=limits,
        )

    # -- what users ask

    async def load(self, contacts: Iterable[NewContact]) -> Loaded:
        """Begin the campaign if it is new, and add contacts; those it has stay as they are.

        Raises:
            ConfigurationError: The ledger has it with other settings.
            StoreError: The ledger fails; loading again does no harm.
        """
        await self._begin()
        return await self._ledger.load(self.name, contacts)

    async def _begin(self) -> None:
        if await self._ledger.create(self.name, self.settings.dump()):
            return
        kept = CampaignSettings.parse(await self._ledger.settings(self.name))
        if others := self.settings.differences(kept):
            raise ConfigurationError(
                f"the ledger has a campaign {self.name!r} with other settings "
                f"({', '.join(others)}): take it up as it is with Campaign.take_up, or choose "
                "another name"
            )

    async def state(self) -> CampaignState:
        """Return how the campaign stands."""
        return await self._ledger.state(self.name)

    async def pause(self, why: str = "") -> None:
        """Ask all workers to start nothing more until `resume`; what was sent goes on."""
        await self._ledger.set_status(self.name, "paused", why)

    async def resume(self) -> None:
        """Ask all workers to go on."""
        await self._ledger.set_status(self.name, "running")

    async def stop(self, why: str = "") -> None:
        """Ask all workers to start nothing more, and to leave."""
        await self._ledger.set_status(self.name, "stopped", why)

    def leave(self) -> None:
        """Have this worker start nothing more; `run` returns when what was sent is settled."""
        self._worker.leave()

    async def run(
        self, *, on_progress: Callable[[CampaignState], object] | None = None
    ) -> CampaignState:
        """Dial until nothing is left to be dialled, and what was dialled is over.

        Cancelling it starts nothing more, and waits for what was sent. It may be run again,
        once it has returned, however it ended.

        Args:
            on_progress: A plain function that is told how the campaign stands, every second.

        Returns:
            How it stands in the end.

        Raises:
            ConfigurationError: The ledger has the campaign with other settings; or it is
                running already, in another task.
            ServiceClosed: The service was closed meanwhile.
            WrongEventLoop: The service belongs to another event loop.
            StoreError: The ledger fails at the beginning or at the end.
        """
        if self._running:
            raise ConfigurationError(
                f"campaign {self.name!r} is running already, in another task: wait for it, or "
                "make another Campaign, which is another worker"
            )
        self._running = True
        try:
            await self._begin()
            failure = await self._dial(on_progress)
            if failure is not None:
                raise failure
            return await self._ledger.state(self.name)
        finally:
            self._running = False
            self._worker.leaving, self._worker.failure = False, None

    async def _dial(
        self, on_progress: Callable[[CampaignState], object] | None
    ) -> BaseException | None:
        """Dial, with all that goes on beside; return what failed."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tidy)
                tasks.start_soon(self._watch, on_progress)
                await self._worker.run()
                await self._await_outcomes()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            return _first(group)
        return self._worker.failure

    # -- what goes on beside

    async def _tidy(self) -> None:
        """Keep this worker's leases, and pick up what others left behind."""
        while True:
            await self._worker.live.free_owed()
            try:
                await self._ledger.renew(self._worker.owner, lease=self._timeouts.claim)
                found = await self._ledger.reap(self.name)
                if found.unknown:
                    logger.warning(
                        "campaign %s: %d sends were left behind by a worker that is gone: a "
                        "phone may have rung, and they are kept as unknown",
                        self.name,
                        found.unknown,
                    )
                await self._ledger.resolve_unknown(
                    self.name, older_than=await self._proof(), policy=self.settings.unknown
                )
            except StoreError as error:
                await self._worker.store_fails(error)
            await anyio.sleep(self._timeouts.claim / 6)

    async def _proof(self) -> float:
        """Return after how many seconds by the ledger's clock silence may prove something.

        Where that clock ran ahead of this loop's, it was set, or the machine slept: nobody could
        hear of a call in these seconds.
        """
        ahead = await self._ledger.now() - anyio.current_time()
        self._least_ahead = min(self._least_ahead, ahead)
        return self._timeouts.proof + ahead - self._least_ahead

    async def _watch(self, on_progress: Callable[[CampaignState], object] | None) -> None:
        """See what the campaign's workers are asked to do, and tell how it stands."""
        while True:
            try:
                state = await self._ledger.state(self.name)
            except StoreError as error:
                await self._worker.store_fails(error)
                continue
            self._worker.hear_of(state)
            try:
                if on_progress is not None:
                    on_progress(state)
            except Exception:
                logger.exception("on_progress failed; the campaign goes on")
            await anyio.sleep(_POLL)

    async def _await_outcomes(self) -> None:
        """Wait for the ends of calls, and for signs of unknown ones, while they may come."""
        if self._receiver is None or self._worker.leaving:
            return
        began = anyio.current_time()
        while not self._worker.leaving:
            waited = anyio.current_time() - began
            try:
                state = await self._ledger.state(self.name)
            except StoreError as error:
                await self._worker.store_fails(error)
                continue
            placed = state.counts[ContactState.PLACED] and waited < self._timeouts.outcomes
            unknown = state.counts[ContactState.UNKNOWN] and waited < self._timeouts.evidence
            if state.status == "stopped" or not (placed or unknown):
                self._say_unheard(state)
                return
            await self._worker.wait(_POLL)

    def _say_unheard(self, state: CampaignState) -> None:
        """Have somebody look at the webhooks, if they are missed."""
        placed, unknown = (
            state.counts[each] for each in (ContactState.PLACED, ContactState.UNKNOWN)
        )
        if placed and state.status != "stopped":
            logger.warning(
                "campaign %s: the ends of %d calls were not heard of, and %d sends are of unknown "
                "fate: do TeleCMI's webhooks reach the receiver?",
                self.name,
                placed,
                unknown,
            )

    async def _hear(self, event: Event) -> None:
        """Put on record what is heard of a call, however long the ledger takes to come back."""
        if reference_in(event) is None and event.request_id is None:
            return
        until = anyio.current_time() + self._timeouts.outcomes
        while True:
            try:
                await self._note(event)
                break
            except StoreError as error:
                if anyio.current_time() > until:
                    raise
                await self._worker.store_fails(error)
        self._worker.wake()

    async def _note(self, event: Event) -> None:
        name = await put_on_record(self._ledger, event)
        record = record_of(event)
        if name is None or record is None:
            return
        if name == self.name:
            await self._worker.live.free(record.to or "")
        else:  # it hears for all campaigns of the ledger
            await release_channel(self._ledger, name, record, self._limits)


def _first(failure: BaseException) -> BaseException:
    """Return what failed first; who interrupts counts for more than what fails."""
    while isinstance(failure, BaseExceptionGroup):
        inside = cast("tuple[BaseException, ...]", failure.exceptions)
        failure = next((each for each in inside if not isinstance(each, Exception)), inside[0])
    return failure

"""Campaign: durable bulk dialling, one request per contact, from any number of workers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, Literal, Self, SupportsIndex

import attrs

from telecmi_async._internal import validators
from telecmi_async._internal.event_loop import InterruptNotice
from telecmi_async._internal.messages import did_you_mean, mask
from telecmi_async._internal.seams import check_function, check_implements, check_instance
from telecmi_async._internal.tasks import first_failure
from telecmi_async.campaigns.change import UNCHANGED, change_settings
from telecmi_async.campaigns.event_recorder import EventRecorder
from telecmi_async.campaigns.observed import traced
from telecmi_async.campaigns.settings import CampaignSettings, CampaignTimeouts
from telecmi_async.campaigns.settings_in_use import SettingsInUse
from telecmi_async.campaigns.supervisor import Supervisor
from telecmi_async.campaigns.worker import Worker
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.protocol import Ledger
from telecmi_async.pacing.shared import SharedLimits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType

    from telecmi_async.campaigns.change import Unchanged
    from telecmi_async.campaigns.redial import Redial
    from telecmi_async.campaigns.rules import CampaignRules
    from telecmi_async.campaigns.settings import Pace, Retries, UnknownPolicy
    from telecmi_async.ledger import (
        CampaignChange,
        CampaignState,
        Loaded,
        NewContact,
        Withdrawn,
    )
    from telecmi_async.service.service import CallService

logger = logging.getLogger("telecmi_async")

_RUN_INTERRUPTED = InterruptNotice(
    "Interrupted: what was sent is on record, and nothing more is started. Run the campaign again "
    "to go on."
)
_LEDGER: Final = "a ledger, such as a SqliteLedger(path)"
_LIMITS: Final = "shared limits, such as RedisLimits(url)"


class Campaign:
    """Dials the contacts of a ledger, each once, from any number of workers.

    It records the events of its calls while it runs, and no longer. To record them before and
    after as well, for example the ends of calls after `leave`, keep it open:
    ``async with Campaign(…) as campaign:``.

    Example:
        Load a list and dial it, at most two calls a second::

            from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
            from telecmi_async.ledger import NewContact, SqliteLedger

            settings = CampaignSettings(
                flow=[Speak("Hello {name}!"), Hangup()], pace=Pace(calls_per_second=2)
            )
            people = [NewContact(number=19170000001, columns={"name": "Asha"})]
            async with SqliteLedger("campaigns.db") as ledger:
                campaign = Campaign(ledger, service, "reminders", settings)
                await campaign.load(people)
                print(await campaign.run())

    Args:
        ledger: Where the contacts are; open.
        service: Places the calls; open. If it was given a receiver, the events that arrive there
            are recorded in the ledger.
        name: The campaign's name in the ledger.
        settings: Its settings. `attach` reads them from the ledger.
        without_events: Dial although no event of a call arrives here. Caps that events measure
            hold only if a receiver elsewhere records events in the same ledger.
        worker: This worker's name in the ledger; random if not given. Two workers must not have
            the same name at one time.
        timeouts: How long it waits.
        limits: Grants starts and channels to all workers instead of the ledger, for example a
            `telecmi_async.pacing.RedisLimits`. While it fails, nothing is dialled.

    Raises:
        ConfigurationError: A value is of the wrong kind; the message names it.
    """

    def __init__(
        self,
        ledger: Ledger,
        service: CallService,
        name: str,
        settings: CampaignSettings,
        *,
        without_events: bool = False,
        worker: str | None = None,
        timeouts: CampaignTimeouts | None = None,
        limits: SharedLimits | None = None,
    ) -> None:
        from telecmi_async.service.service import CallService  # noqa: PLC0415  # it is loaded: there is one

        for what, given in (("name", name), ("worker", worker or "random")):
            validators.name(self, validators.Named(what), given)
        check_implements("ledger", ledger, Ledger, _LEDGER)
        check_instance("service", service, CallService)
        check_instance("settings", settings, CampaignSettings)
        check_instance("without_events", without_events, bool, "True or False")
        if timeouts is not None:
            check_instance("timeouts", timeouts, CampaignTimeouts)
        if limits is not None:
            check_implements("limits", limits, SharedLimits, _LIMITS)
        self.name = name
        self._ledger, self._given = ledger, settings
        self._attached = self._running = False
        intake = None if without_events else service._runner.intake  # noqa: SLF001  # the seam for campaigns
        self._receives = intake is not None
        self._without_events = without_events
        timeouts = timeouts or CampaignTimeouts()
        if timeouts.timeouts is None:
            timeouts = attrs.evolve(timeouts, timeouts=service._runner.timeouts)  # noqa: SLF001  # as above
        self._worker = Worker(
            ledger,
            service,
            name,
            SettingsInUse(settings),
            timeouts,
            name=worker,
            limits=limits,
            require_events=self._check_caps,
        )
        self._supervisor = Supervisor(self._worker)
        self._recorder = EventRecorder(self._worker, intake)
        self._open: AsyncExitStack | None = None

    def __repr__(self) -> str:
        return f"<Campaign {self.name!r}{', running here' if self._running else ''}>"

    @classmethod
    async def attach(
        cls,
        ledger: Ledger,
        service: CallService,
        name: str,
        *,
        without_events: bool = False,
        worker: str | None = None,
        timeouts: CampaignTimeouts | None = None,
        limits: SharedLimits | None = None,
    ) -> Self:
        """Return a campaign that the ledger has, with its settings.

        Raises:
            ConfigurationError: The ledger has no campaign of that name.
            StoreError: The ledger fails.
        """
        check_implements("ledger", ledger, Ledger, _LEDGER)
        data = await ledger.settings(name)
        if data is None:
            names = await ledger.campaigns()
            hint = did_you_mean(name, names) if names else "it has none"
            raise ConfigurationError(f"there is no campaign {name!r} in this ledger: {hint}")
        campaign = cls(
            ledger,
            service,
            name,
            CampaignSettings.parse(data),
            without_events=without_events,
            worker=worker,
            timeouts=timeouts,
            limits=limits,
        )
        campaign._attached = True
        return campaign

    async def __aenter__(self) -> Self:
        """Record the events of its calls from now on, whether or not it runs.

        Raises:
            ConfigurationError: It is open already.
        """
        if self._open is not None:
            raise ConfigurationError(f"campaign {self.name!r} is open already")
        self._open = opened = AsyncExitStack()
        try:
            await opened.enter_async_context(self._recorder.open())
        except BaseException:
            self._open = None
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Record no more, once the events that have arrived are on record."""
        opened, self._open = self._open, None
        if opened is not None:
            await opened.__aexit__(kind, error, trace)

    async def load(self, contacts: Iterable[NewContact], *, by: str = "") -> Loaded:
        """Create the campaign if it is new, and add contacts; those it has stay as they are.

        Workers that run take them within about a second.

        Args:
            contacts: The contacts; the iterable may be huge, and lazy.
            by: Who loads them, for `changes`.

        Raises:
            ConfigurationError: The ledger has it with other settings.
            StoreError: The ledger fails; loading again does no harm.
        """
        check_instance("contacts", contacts, Iterable, "an iterable of NewContact")
        await self._create()
        return await self._ledger.load(self.name, traced(contacts, self._worker.notify), by=by)

    async def withdraw(
        self, numbers: Iterable[SupportsIndex | str], *, by: str = "", why: str = ""
    ) -> Withdrawn:
        """Have contacts not be dialled any more; see `Ledger.withdraw`.

        Args:
            numbers: The contacts' numbers, as people write them (else `InvalidCall`).
            by: Who withdraws them.
            why: The reason, in words.

        Returns:
            How many contacts were in which state, so that one knows who may still ring.

        Raises:
            StoreError: The ledger fails; withdrawing again does no harm.
        """
        return await self._ledger.withdraw(self.name, numbers, by=by, why=why)

    async def change(
        self,
        *,
        pace: Pace | None = None,
        rules: CampaignRules | None = None,
        retries: Retries | None = None,
        unknown: UnknownPolicy | None = None,
        redial: Redial | Literal[Unchanged.UNCHANGED] | None = UNCHANGED,
        pause_after_refusals: int | Literal[Unchanged.UNCHANGED] | None = UNCHANGED,
        by: str = "",
    ) -> CampaignSettings:
        """Change settings for all workers of the campaign, wherever they run.

        Once it returns, no request is permitted by the earlier settings; those whose intent is on
        record go on. Workers take the new ones within about a second. A campaign that does not
        run takes them when it runs. A campaign that a cost cap stopped stays so until `resume`.

        Args:
            pace: How fast it dials, with the same ``shared``.
            rules: What must hold at the moment of sending.
            retries: When a contact that was certainly not dialled is tried again.
            unknown: What happens to contacts whose phone may have rung.
            redial: When contacts whose calls were not answered are redialled; ``None`` for never.
            pause_after_refusals: After how many equal refusals it pauses; ``None`` for never.
            by: Who changes it.

        Returns:
            The new settings. What is not given stays as it is, also if another person changes
            it at the same time.

        Raises:
            ConfigurationError: The ledger has no such campaign, or a value cannot be changed.
            StoreError: The ledger fails.
        """
        return await change_settings(
            self._ledger,
            self.name,
            pace=pace,
            rules=rules,
            retries=retries,
            unknown=unknown,
            redial=redial,
            pause_after_refusals=pause_after_refusals,
            by=by,
        )

    def changes(self) -> AsyncGenerator[CampaignChange]:
        """Iterate over what was changed, and by whom, oldest first; see `Ledger.changes`."""
        return self._ledger.changes(self.name)

    @property
    def settings(self) -> CampaignSettings:
        """What it goes by, as far as the ledger's settings are known here."""
        return self._worker.settings

    async def _create(self) -> None:
        if self._attached:
            return
        if await self._ledger.create(self.name, self._given.dump()):
            return
        kept = await self._ledger.settings_revision(self.name)
        assert kept is not None  # noqa: S101  # campaigns are never deleted
        # A program may have those that it began with, or those that were changed since.
        given = self._given
        now, then = (CampaignSettings.parse(each) for each in (kept.settings, kept.original))
        if others := [
            name for name in given.differences(now) if name in given.differences(then)
        ]:
            raise ConfigurationError(
                f"the ledger has a campaign {self.name!r} with other settings "
                f"({', '.join(others)}): use Campaign.attach to go on with those, or choose "
                "another name"
            )

    def _check_caps(self, settings: CampaignSettings) -> None:
        """Require that the campaign's caps can be measured."""
        caps = settings.measured_by_events
        if caps and not self._receives and not self._without_events:
            raise ConfigurationError(
                f"campaign {self.name!r} has {' and '.join(caps)}, which cannot be measured: its "
                "service has no receiver. Give CallService(events=Receiver(…)); or "
                "Campaign(without_events=True), if a receiver elsewhere records events in this "
                "ledger, or to dial without the cap"
            )

    @property
    def unreached(self) -> str:
        """Why this worker cannot reach TeleCMI, in words; empty while nothing says so.

        Contacts stay pending meanwhile, and single probes are sent until one is answered.
        """
        return self._worker.health.unreached

    async def state(self) -> CampaignState:
        """Return what the campaign is doing, and how many contacts are in each state.

        Raises:
            StoreError: The ledger fails.
        """
        return await self._ledger.state(self.name)

    async def pause(self, why: str = "", *, by: str = "") -> None:
        """Have all workers start nothing more until `resume`; calls already sent go on.

        Args:
            why: The reason, in words, which ``CampaignState.doing`` shows.
            by: Who asks for it, for `changes`.

        Raises:
            StoreError: The ledger fails.
        """
        await self._ledger.set_status(self.name, "paused", why, by=by)

    async def resume(self, *, by: str = "") -> None:
        """Have all workers go on; as `pause`."""
        await self._ledger.set_status(self.name, "running", by=by)

    async def stop(self, why: str = "", *, by: str = "") -> None:
        """Have all workers start nothing more, and end their `run`; as `pause`."""
        await self._ledger.set_status(self.name, "stopped", why, by=by)

    def leave(self) -> None:
        """Have this worker start nothing more; `run` returns when what was sent is settled."""
        self._worker.leave()

    @property
    def timeouts(self) -> CampaignTimeouts:
        """How long it waits."""
        return self._worker.timeouts

    @property
    def unrecorded(self) -> int:
        """The number of sends of the last run whose outcome the ledger could not record.

        They are ``sending`` in the ledger, and unknown once their leases are over.
        """
        return len(self._worker.unrecorded)

    def _report_unrecorded(self) -> None:
        """Log what became of sends that the ledger knows nothing of."""
        for number, outcome in self._worker.unrecorded:
            logger.error(
                "campaign %s: not on record: the send to %s ended %s%s",
                self.name,
                mask(number),
                outcome.state,
                f", request_id {outcome.request_id}" if outcome.request_id else "",
            )

    async def run(
        self, *, on_progress: Callable[[CampaignState], object] | None = None
    ) -> CampaignState:
        """Dial until no contact is left to be dialled, and wait for the ends of calls.

        Cancelling it starts nothing more, and waits for what was sent. It may be run again
        after it has returned or raised.

        Args:
            on_progress: A plain function that is called with the campaign's state every second,
                and with the final state.

        Returns:
            The final state.

        Raises:
            ConfigurationError: The ledger has the campaign with other settings; it is running
                already, in another task; it has a cap that cannot be measured, since its service
                has no receiver (see ``without_events``); or its service has limits of its own.
            ServiceClosed: The service was closed meanwhile.
            WrongEventLoop: The service belongs to another event loop.
            StoreError: The ledger fails at the beginning or at the end.
        """
        if self._running:
            raise ConfigurationError(
                f"campaign {self.name!r} is running already, in another task: wait for it, or "
                "create another Campaign, which is another worker"
            )
        if on_progress is not None:
            check_function("on_progress", on_progress, "one CampaignState", plain=True)
        if self._worker.shares_limits:
            raise ConfigurationError(
                "the service of a campaign that is run must have no limits: give them to the "
                "campaign (limits=), or each call would take two starts"
            )
        self._running = True
        self._worker.unrecorded.clear()
        self._worker.ledger_health.lost = None  # it may have been put right since
        try:
            await self._create()
            await self._worker.take_settings()
            self._check_caps(self.settings)
            failure: BaseException | None = None
            try:
                with _RUN_INTERRUPTED:
                    async with self._recorder.open():
                        await self._supervisor.run(on_progress, events=self._receives)
            except BaseExceptionGroup as group:
                failure = first_failure(group)
            if failure := failure or self._worker.failure:
                raise failure
            state = await self._ledger.state(self.name)
            self._supervisor.report(on_progress, state)
            return state
        finally:
            self._report_unrecorded()
            self._running = False
            self._worker.leaving, self._worker.failure = False, None

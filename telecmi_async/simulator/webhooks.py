"""Webhook settings: the target of events, and faults of their delivery."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast
from urllib.parse import urlsplit

from attrs import define, field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import shown
from telecmi_async._internal.telecmi import RECORD_PAUSES
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.receiver import Receiver
from telecmi_async.simulator.call import SimulatedCall
from telecmi_async.simulator.chance import check_range, to_range
from telecmi_async.simulator.payload import DIALECTS, Dialect

#: Where webhooks go: straight into a receiver of this process, or to a URL.
WebhookTarget: TypeAlias = "Receiver | str"


def _parse_target(value: WebhookTarget | None) -> WebhookTarget | None:
    target = cast("object", value)  # nothing is known of it yet
    if target is None or isinstance(target, Receiver):
        return value
    if isinstance(target, str) and host_of(target):
        return target
    # An address may hold a token, all the more if it is one without its scheme.
    given = "another text, which is not shown" if isinstance(target, str) else shown(target)
    raise ConfigurationError(f"webhooks must go to a Receiver or an http(s) URL, not {given}")


def host_of(url: str) -> str:
    """Return the host of an http(s) URL, or ``""`` for any other text."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.scheme in {"http", "https"} else ""


@frozen
class Webhooks:
    """The target of events and records, and faults of their delivery.

    Example:
        A tenth of the webhooks is lost, the rest is up to 30 seconds late::

            from telecmi_async.simulator import Simulator, Webhooks

            Simulator(webhooks=Webhooks(delay=(0, 30), drop_share=0.1))

    Args:
        to: A `Receiver`, or a URL. It is not in the repr, because it holds a token.
        dialect: The edition of TeleCMI's documentation whose format they have.
        delay: Seconds until they arrive, or the shortest and the longest. A later event may
            arrive first.
        drop_share: The share of deliveries that are lost. Of a record's four deliveries at least
            one arrives.
        double_share: The share of messages that are delivered twice.
        redeliver: Whether a record is always sent four times (``"always"``), or until the reply
            is a 2xx (``"until_2xx"``). TeleCMI does not document which of them it does.

    Raises:
        ConfigurationError: A value is not valid.
    """

    to: WebhookTarget | None = field(default=None, converter=_parse_target, repr=False)
    dialect: Dialect = field(
        default="2024", kw_only=True, validator=validators.one_of(*DIALECTS, "mixed")
    )
    delay: tuple[float, float] = field(
        default=(0.0, 0.0), kw_only=True, converter=to_range, validator=check_range
    )
    drop_share: float = field(default=0.0, kw_only=True, validator=validators.share)
    double_share: float = field(default=0.0, kw_only=True, validator=validators.share)
    redeliver: Literal["always", "until_2xx"] = field(
        default="always", kw_only=True, validator=validators.one_of("always", "until_2xx")
    )


def parse_webhooks(value: Webhooks | WebhookTarget | None) -> Webhooks:
    """Return the settings that an argument means."""
    return value if isinstance(value, Webhooks) else Webhooks(value)


@frozen
class Ask:
    """The user's program is asked how the call goes on.

    Without ``url`` it is asked where calls that come in are; without ``keys`` a call comes in.
    """

    url: str | None
    keys: str | None


@define(eq=False)
class Delivery:
    """One message to the user's program.

    Args:
        call: The call it is about.
        what: ``started``, ``record``, ``keys`` and the like.
        leg: The leg it is about.
        key: Its name in random draws.
        body: The JSON.
        ask: What is asked, if an answer is waited for.
        step: The step of the call's lifecycle that asked.
        tries: How often it was sent, or lost on the way.
        arrived: How often it was sent.
        status: The HTTP status of its last answer; ``None`` if there was none, or none yet.
        failure: Why it could not be delivered the last time, in a few words; ``""`` if it could.
        next_at: When it is sent next, in seconds on the simulator's clock, if it is.
    """

    call: SimulatedCall = field(repr=False)
    what: str
    leg: str
    key: str = field(repr=False)
    body: bytes = field(repr=False)
    ask: Ask | None = field(default=None, repr=False)
    step: int = field(default=0, repr=False)
    tries: int = 0
    arrived: int = 0
    status: int | None = None
    failure: str = ""
    next_at: float | None = None

    @property
    def most_tries(self) -> int:
        """How often it is sent if all goes well."""
        return 1 + len(RECORD_PAUSES) if self.what == "record" else 1

    @property
    def taken(self) -> bool:
        """Whether it was answered with a 2xx."""
        return self.status is not None and 200 <= self.status < 300

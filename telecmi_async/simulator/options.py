"""Simulator options: their defaults, and what is accepted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias, cast

from attrs import define, field, fields

from telecmi_async._internal import validators
from telecmi_async._internal.messages import shown
from telecmi_async._internal.validators import must_be
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.phone import parse_number
from telecmi_async.simulator.callee import Callee, magic_for
from telecmi_async.simulator.chance import check_range, draw, to_range
from telecmi_async.simulator.fault import Faults
from telecmi_async.simulator.replies import Codes, Envelope
from telecmi_async.simulator.request_log import SimulatedRequest
from telecmi_async.simulator.voice.asgi_socket import StreamTarget
from telecmi_async.simulator.webhooks import Webhooks, parse_webhooks
from telecmi_async.wire.credentials import Credentials

#: How time passes in calls: as in real calls, all at once, or by manual commands.
Lifecycle: TypeAlias = Literal["timed", "immediate", "manual"]

_DOES_NOT: Final = Callee(ending="missed")


def _parse_envelope(value: Envelope | Literal["A", "B", "C"]) -> Envelope:
    """Return the `Envelope` that a letter stands for."""
    try:
        return Envelope(value)
    except ValueError:
        raise ConfigurationError(
            f'Simulator.envelope must be "A", "B" or "C", not {shown(value)}'
        ) from None


def _parse_files(value: Collection[str] | None) -> frozenset[str] | None:
    """Return the names of files as a set."""
    if value is None:
        return None
    names = cast("object", value)  # it may be anything
    if isinstance(names, Collection) and not isinstance(names, str | bytes):
        found = cast("Collection[object]", names)
        if all(isinstance(name, str) for name in found):
            return frozenset(value)
    raise ConfigurationError(
        f"Simulator.files must be names of files, or None for any, not {shown(value)}"
    )


def _is_seed(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_aware(value: object) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _is_observer(value: Callable[[SimulatedRequest], object] | None) -> bool:
    return value is None or callable(cast("object", value))


def _is_stream_target(value: object) -> bool:
    return value in {None, "dial"} if isinstance(value, str | None) else callable(value)


def _is_callee(value: object) -> bool:
    return isinstance(value, Callee)


def _parse_callees(value: Mapping[int | str, Callee]) -> dict[int, Callee]:
    """Return the callees by their numbers."""
    given = cast("object", value)
    if not isinstance(given, Mapping):
        raise ConfigurationError("Simulator.callees must be a mapping of numbers to Callees")
    found: dict[int, Callee] = {}
    for number, callee in value.items():
        if not isinstance(cast("object", callee), Callee):
            raise ConfigurationError("Simulator.callees must hold Callees")
        try:
            found[parse_number(number, "Simulator.callees")] = callee
        except InvalidCall as error:
            raise ConfigurationError(str(error)) from None
    return found


def _count_of(callees: Mapping[int, Callee]) -> str:
    return f"<{len(callees)} numbers>"


@define(kw_only=True, eq=False)
class SimulatorOptions:
    """The options of a `Simulator`, which explains them."""

    seed: int | str = field(default=0, validator=must_be("an int or a str", _is_seed))
    app_id: int = 2222226
    secret: str = field(default="simulated-secret", repr=False)
    latency: tuple[float, float] = field(
        default=(0.0, 0.0), converter=to_range, validator=check_range
    )
    envelope: Envelope = field(default=Envelope.A, converter=_parse_envelope)
    refusals: Literal["status", "body"] = field(
        default="status", validator=validators.one_of("status", "body")
    )
    codes: Codes = field(default="number", validator=validators.one_of("number", "cmi"))
    error_502_share: float = field(default=0.0, validator=validators.share)
    error_502_kind: Literal["vendor", "gateway"] = field(
        default="vendor", validator=validators.one_of("vendor", "gateway")
    )
    gateway_placed_share: float = field(default=0.5, validator=validators.share)
    files: frozenset[str] | None = field(default=None, converter=_parse_files)
    missing_code: int = field(default=422, validator=validators.one_of(422, 501, 502))
    calls_per_second: int | None = field(default=None, validator=validators.whole_or_none(1))
    keep: int | None = field(default=1_000, validator=validators.whole_or_none(0))
    life: Lifecycle | None = field(
        default="timed", validator=validators.one_of_or_none("timed", "immediate", "manual")
    )
    ring: tuple[float, float] = field(
        default=(2.0, 12.0), converter=to_range, validator=check_range
    )
    talk: tuple[float, float] = field(
        default=(5.0, 40.0), converter=to_range, validator=check_range
    )
    answered_share: float = field(default=1.0, validator=validators.share)
    magic: bool = field(default=True, validator=validators.flag)
    callee: Callee = field(default=Callee(), validator=must_be("a Callee", _is_callee))
    callees: dict[int, Callee] = field(
        factory=dict[int, Callee], converter=_parse_callees, repr=_count_of
    )
    webhooks: Webhooks = field(factory=Webhooks, converter=parse_webhooks)
    speed: float = field(default=1.0, validator=validators.positive)
    starts_at: datetime = field(
        default=datetime(2026, 1, 1, tzinfo=UTC),
        validator=must_be("a datetime with a time zone", _is_aware),
    )
    reveal: bool = field(default=False, validator=validators.flag)
    streams: StreamTarget | None = field(
        default=None,
        repr=lambda value: repr(value) if isinstance(value, str) else "<an ASGI app>",
        validator=must_be('an ASGI app, "dial" or None', _is_stream_target),
    )
    keep_audio: bool = field(default=True, validator=validators.flag)
    on_request: Callable[[SimulatedRequest], object] | None = field(
        default=None, repr=False, validator=must_be("a function, or None", _is_observer)
    )
    #: The rules by which requests go wrong, besides the options; they may change at any time.
    faults: Faults = field(init=False, factory=Faults, repr=False)

    def __attrs_post_init__(self) -> None:
        # Credentials that a service would refuse could only ever be answered with 420.
        credentials = Credentials(self.app_id, self.secret)
        self.app_id = credentials.app_id
        self.secret = credentials.secret.reveal()

    def __repr__(self) -> str:
        plain, given = SimulatorOptions(), list[str]()
        for option in fields(SimulatorOptions):
            value = cast("object", getattr(self, option.name))
            if option.repr and value != getattr(plain, option.name):
                words = option.repr(value) if callable(option.repr) else repr(value)
                given.append(f"{option.name}={words}")
        return f"Simulator({', '.join(given)})"


def callee_at(options: SimulatorOptions, to: int, attempt: int) -> Callee:
    """Return the callee at a number: by script, by its last digits, or by chance."""
    if (scripted := options.callees.get(to)) is not None:
        return scripted
    if options.magic and (magic := magic_for(to)) is not None:
        return magic.callee
    answers = draw(options.seed, "answers", to, attempt) < options.answered_share
    return options.callee if answers else _DOES_NOT

"""The call flow language, PCMO: one frozen class for each action.

TeleCMI calls a flow "PIOPIY call management object": an array of actions that run one
after another once the callee answers. Names are the vendor's; `from` is a word of Python,
so it is ``from_`` here. An option that is not given is not sent, and TeleCMI's own default
applies. Values are checked when an action is made: an invalid one cannot exist.

Rules are those of the vendor's pages on PCMO actions (doc.telecmi.com/piopiy/docs), and of
its SDKs' sources where the pages are silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from attrs import field, frozen
from attrs.validators import optional

from telecmi_async._internal.frozen_json import JsonObject, freeze_object
from telecmi_async._internal.messages import shown
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo import fields as is_
from telecmi_async.pcmo.targets import Pstn, Sip, endpoints, phones

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ACTIONS",
    "Action",
    "AnyAction",
    "Bridge",
    "CallType",
    "Connect",
    "Hangup",
    "Input",
    "ListenMode",
    "Param",
    "Play",
    "PlayGetInput",
    "Raw",
    "Record",
    "RingType",
    "Speak",
    "Stream",
    "VoiceQuality",
]

RingType: TypeAlias = Literal["single", "group"]
CallType: TypeAlias = Literal["audio", "video"]
ListenMode: TypeAlias = Literal["caller", "callee", "both"]
VoiceQuality: TypeAlias = Literal["8000", "16000", 8000, 16000, "12000", "32000", 12000, 32000]


class AnyAction:
    """What all actions are.

    It does nothing; it gives type checkers a common name for the items of a list such as
    ``[Play("a.wav"), Hangup()]``.
    """

    __slots__ = ()


@frozen
class Bridge(AnyAction):
    """Ring another phone, or several, and join it to the call.

    Args:
        connect: The phones: `Pstn` objects or plain numbers.
        from_: The caller id they see, a number of yours. The account's default if ``None``.
        timeout: How long they ring, in seconds or as a `timedelta`. TeleCMI's default is 40.
        duration: The longest the bridged call may last, in seconds or as a `timedelta`.
            TeleCMI's default is 5400.
        loop: How often they are tried, at most. TeleCMI's default is 1.
        ring_type: ``"single"`` rings one after another, ``"group"`` all at once. TeleCMI's
            default is single.

    Raises:
        InvalidCall: A value cannot be sent.
    """

    action: ClassVar[Literal["bridge"]] = "bridge"

    # In the order of the vendor's sample, which is the order on the wire.
    duration: int | None = field(default=None, kw_only=True, converter=is_.optional_duration)
    timeout: int | None = field(default=None, kw_only=True, converter=is_.optional_timeout)
    from_: int | None = field(default=None, kw_only=True, converter=is_.optional_from)
    loop: int | None = field(default=None, kw_only=True, validator=optional(is_.count))
    connect: tuple[Pstn, ...] = field(converter=phones)
    ring_type: RingType | None = field(
        default=None, kw_only=True, validator=optional(is_.one_of_values("single", "group"))
    )

    __repr__ = is_.given_repr


@frozen
class Connect(AnyAction):
    """Ring SIP endpoints, an app or a browser, and join the first that answers.

    Args:
        connect: The endpoints.
        from_: The caller id they see. The account's default if ``None``.
        timeout: How long they ring, in seconds or as a `timedelta`. TeleCMI's default is 40.
        duration: The longest the joined call may last, in seconds or as a `timedelta`.
            TeleCMI's default is 5400.
        loop: How often they are tried, at most. TeleCMI's default is 1.
        call_type: ``"audio"`` or ``"video"``.
        ring_type: ``"single"`` or ``"group"``, as in `Bridge`.
        record: Whether to record; only the vendor's Node SDK sends it.
        array_key: The name of the array on the wire. TeleCMI's page names it ``"connect"``
            in its table and ``"call"`` in its sample; its Node SDK sends ``"connect"``.

    Raises:
        InvalidCall: A value cannot be sent.
    """

    action: ClassVar[Literal["connect"]] = "connect"

    duration: int | None = field(default=None, kw_only=True, converter=is_.optional_duration)
    timeout: int | None = field(default=None, kw_only=True, converter=is_.optional_timeout)
    from_: int | None = field(default=None, kw_only=True, converter=is_.optional_from)
    loop: int | None = field(default=None, kw_only=True, validator=optional(is_.count))
    call_type: CallType | None = field(
        default=None, kw_only=True, validator=optional(is_.one_of_values("audio", "video"))
    )
    connect: tuple[Sip, ...] = field(converter=endpoints)
    ring_type: RingType | None = field(
        default=None, kw_only=True, validator=optional(is_.one_of_values("single", "group"))
    )
    record: bool | None = field(
        default=None, kw_only=True, validator=optional(is_.true_or_false)
    )
    array_key: Literal["connect", "call"] = field(
        default="connect", kw_only=True, validator=is_.one_of_values("connect", "call")
    )

    __repr__ = is_.given_repr


@frozen
class Play(AnyAction):
    """Play a recording: ``Play("welcome.wav")`` or ``Play(file_url="https://…")``.

    Args:
        file_name: The name of a file that was uploaded to TeleCMI, mp3 or wav.
        file_url: The URL of a file elsewhere, mp3 or wav. A user of TeleCMI reports that
            URLs with a query string are not fetched.

    Raises:
        InvalidCall: Not exactly one of them is given, or it cannot be one.
    """

    action: ClassVar[Literal["play"]] = "play"

    file_name: str | None = field(default=None, validator=optional(is_.token))
    file_url: str | None = field(default=None, kw_only=True, validator=optional(is_.http_url))

    def __attrs_post_init__(self) -> None:
        _check_source(self.file_name, self.file_url)

    __repr__ = is_.given_repr


@frozen
class PlayGetInput(AnyAction):
    """Play a recording, collect digits, and have TeleCMI post them to a URL of yours.

    Args:
        action_url: Where the digits go; its answer continues the call.
        file_name: The name of a file that was uploaded to TeleCMI.
        file_url: The URL of a file elsewhere. Exactly one of the two is given, or the same
            URL as both, which is what the vendor's Python SDK sends.
        max_digit: How many digits to collect at most. TeleCMI's default is 1.
        max_retry: How often the recording is played while no digit comes.
        timeout: How long to wait for a digit, in seconds or as a `timedelta`.

    Raises:
        InvalidCall: A value cannot be sent.
    """

    action: ClassVar[Literal["play_get_input"]] = "play_get_input"

    action_url: str = field(validator=is_.http_url)
    file_name: str | None = field(default=None, kw_only=True, validator=optional(is_.token))
    file_url: str | None = field(default=None, kw_only=True, validator=optional(is_.http_url))
    max_digit: int | None = field(default=None, kw_only=True, validator=optional(is_.count))
    max_retry: int | None = field(default=None, kw_only=True, validator=optional(is_.count))
    timeout: int | None = field(default=None, kw_only=True, converter=is_.optional_timeout)

    def __attrs_post_init__(self) -> None:
        if self.file_url is None or self.file_name != self.file_url:
            _check_source(self.file_name, self.file_url)

    __repr__ = is_.given_repr


def _check_source(file_name: str | None, file_url: str | None) -> None:
    """Refuse a recording that has no source, or two, or a URL as the name of a file."""
    if file_name is None and file_url is None:
        raise InvalidCall("is missing: give file_name or file_url", path="file_name")
    if file_name is not None and file_url is not None:
        raise InvalidCall("excludes file_name: give one of them", path="file_url")
    if is_.looks_like_url(file_name):
        raise InvalidCall("is a URL: write file_url=… instead", path="file_name")


@frozen
class Input(AnyAction):
    """Collect digits without playing anything, and have TeleCMI post them to a URL of yours.

    Args:
        action_url: Where the digits go; its answer continues the call.
        max_digit: How many digits to collect at most. TeleCMI's default is 1.
        timeout: How long to wait for them, in seconds or as a `timedelta`. TeleCMI's
            default is 5.

    Raises:
        InvalidCall: A value cannot be sent.
    """

    action: ClassVar[Literal["input"]] = "input"

    action_url: str = field(validator=is_.http_url)
    max_digit: int | None = field(default=None, kw_only=True, validator=optional(is_.count))
    timeout: int | None = field(default=None, kw_only=True, converter=is_.optional_timeout)

    __repr__ = is_.given_repr


@frozen
class Record(AnyAction):
    """Record the rest of the call, both directions; put it before what is to be recorded."""

    action: ClassVar[Literal["record"]] = "record"


@frozen
class Hangup(AnyAction):
    """End the call."""

    action: ClassVar[Literal["hangup"]] = "hangup"


@frozen
class Speak(AnyAction):
    """Read a text out.

    Args:
        text: What to say. Dots slow digits down: ``"9. 8. 9. 7"``.

    Raises:
        InvalidCall: It is empty, or holds control characters other than new lines and tabs.
    """

    action: ClassVar[Literal["speak"]] = "speak"

    text: str = field(validator=is_.printable_text)

    __repr__ = is_.given_repr


@frozen
class Param(AnyAction):
    """Set a custom value for the rest of the call.

    Args:
        text: The value.

    Raises:
        InvalidCall: It is empty, or holds control characters other than new lines and tabs.
    """

    action: ClassVar[Literal["param"]] = "param"

    text: str = field(validator=is_.printable_text)

    __repr__ = is_.given_repr


@frozen
class Stream(AnyAction):
    """Stream the call's audio to a WebSocket server of yours, and its audio back.

    Args:
        ws_url: Your server; TeleCMI is the client. An id of the call can go into its query.
        listen_mode: Which side is captured. TeleCMI's table calls it required, its SDKs do
            not.
        voice_quality: The sample rate in Hz: 8000 or 16000. The vendor's READMEs name 12000
            and 32000 as well, and write ints where its pages write strings; what is given
            is what is sent.
        stream_on_answer: Whether to wait for the answer. TeleCMI's default is false.

    Raises:
        InvalidCall: A value cannot be sent.
    """

    action: ClassVar[Literal["stream"]] = "stream"

    ws_url: str = field(validator=is_.ws_url)
    listen_mode: ListenMode | None = field(
        default=None,
        kw_only=True,
        validator=optional(is_.one_of_values("caller", "callee", "both")),
    )
    voice_quality: VoiceQuality | None = field(
        default=None,
        kw_only=True,
        validator=optional(
            is_.one_of_values("8000", "16000", 8000, 16000, "12000", "32000", 12000, 32000)
        ),
    )
    stream_on_answer: bool | None = field(
        default=None, kw_only=True, validator=optional(is_.true_or_false)
    )

    __repr__ = is_.given_repr


def _raw(value: Mapping[str, object]) -> JsonObject:
    """Return the checked copy of a raw action."""
    data = freeze_object(value, "")
    if "action" not in data:
        raise InvalidCall(
            'is missing: name the action, as in {"action": "hangup"}', path="action"
        )
    name = data["action"]
    if not isinstance(name, str) or not name.strip():
        raise InvalidCall(f"must be the action's name, not {shown(name)}", path="action")
    return data


@frozen
class Raw(AnyAction):
    """An action this package does not know, or a known one sent exactly as written.

    The way out when TeleCMI adds something. Only that it is JSON and names an action is
    checked, and it is copied in full.

    Args:
        data: The action as it goes on the wire: ``Raw({"action": "clear"})``.

    Raises:
        InvalidCall: It is no JSON object, or has no ``"action"``.
    """

    data: JsonObject = field(converter=_raw)

    @property
    def action(self) -> str:
        """The action's name."""
        return str(self.data["action"])

    __repr__ = is_.given_repr


Action: TypeAlias = (
    Bridge
    | Connect
    | Hangup
    | Input
    | Param
    | Play
    | PlayGetInput
    | Raw
    | Record
    | Speak
    | Stream
)

#: Every action whose name is known, by that name.
ACTIONS: dict[str, type[Action]] = {
    kind.action: kind
    for kind in (
        Bridge,
        Connect,
        Hangup,
        Input,
        Param,
        Play,
        PlayGetInput,
        Record,
        Speak,
        Stream,
    )
}

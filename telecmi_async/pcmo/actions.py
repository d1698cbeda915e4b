"""PCMO actions, the steps of a call flow: one frozen class for each action.

PCMO is TeleCMI's "PIOPIY call management object": an array of actions that run one after
another once the callee answers. Names and rules are those of the vendor's pages
(doc.telecmi.com/piopiy/docs), or of its SDKs where the pages say nothing; only ``from_``
differs, since Python reserves ``from``. An option that is not given is not sent, and TeleCMI's
default applies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

from attrs import field, frozen
from attrs.validators import optional

from telecmi_async._internal.frozen_json import JsonObject, freeze_object
from telecmi_async._internal.messages import shown
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo import fields as is_
from telecmi_async.pcmo.targets import Pstn, Sip, endpoints, phones

if TYPE_CHECKING:
    from collections.abc import Mapping

RingType: TypeAlias = Literal["single", "group"]
CallType: TypeAlias = Literal["audio", "video"]
ListenMode: TypeAlias = Literal["caller", "callee", "both"]
VoiceQuality: TypeAlias = Literal["8000", "16000", 8000, 16000, "12000", "32000", 12000, 32000]


def _one_of(literal: Any) -> is_.CallFieldValidator:
    """Require None or one of the values of a `Literal`."""
    return optional(is_.one_of_values(*get_args(literal)))


class AnyAction:
    """The base class of actions: the item type of a list such as ``[Play("a.wav"), Hangup()]``."""

    __slots__ = ()


@frozen
class Bridge(AnyAction):
    """Ring one or more phones, and connect the call to the first that answers.

    Example:
        Two phones ring at once, for 20 seconds::

            Bridge([Pstn(19170000002), 19170000003], timeout=20, ring_type="group")

    Args:
        connect: The phones: `Pstn` objects or plain numbers.
        from_: The caller id they see, one of your numbers. The account's default if ``None``.
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

    # In the order of the vendor's sample: it is the order on the wire.
    duration: int | None = field(default=None, kw_only=True, converter=is_.optional_duration)
    timeout: int | None = field(default=None, kw_only=True, converter=is_.optional_timeout)
    from_: int | None = field(default=None, kw_only=True, converter=is_.optional_from)
    loop: int | None = field(default=None, kw_only=True, validator=optional(is_.count))
    connect: tuple[Pstn, ...] = field(converter=phones)
    ring_type: RingType | None = field(default=None, kw_only=True, validator=_one_of(RingType))

    __repr__ = is_.given_repr


@frozen
class Connect(AnyAction):
    """Ring SIP endpoints, such as an app or a browser, and connect the first that answers.

    Example:
        An app of the account rings for 20 seconds::

            Connect([Sip("reception")], timeout=20)

    Args:
        connect: The endpoints.
        from_: The caller id they see. The account's default if ``None``.
        timeout: How long they ring, in seconds or as a `timedelta`. TeleCMI's default is 40.
        duration: The longest the connected call may last, in seconds or as a `timedelta`.
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
    call_type: CallType | None = field(default=None, kw_only=True, validator=_one_of(CallType))
    connect: tuple[Sip, ...] = field(converter=endpoints)
    ring_type: RingType | None = field(default=None, kw_only=True, validator=_one_of(RingType))
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

    Example:
        An uploaded file, and one of your own server::

            Play("welcome.wav")
            Play(file_url="https://example.com/welcome.mp3")

    Args:
        file_name: The name of a file that was uploaded to TeleCMI, mp3 or wav.
        file_url: The URL of a file elsewhere, mp3 or wav. A user of TeleCMI reports that
            URLs with a query string are not fetched.

    Raises:
        InvalidCall: Both or neither are given, or a value cannot be sent.
    """

    action: ClassVar[Literal["play"]] = "play"

    file_name: str | None = field(default=None, validator=optional(is_.token))
    file_url: str | None = field(default=None, kw_only=True, validator=optional(is_.http_url))

    def __attrs_post_init__(self) -> None:
        _check_source(self.file_name, self.file_url)

    __repr__ = is_.given_repr


@frozen
class PlayGetInput(AnyAction):
    """Play a recording and collect digits (DTMF), which TeleCMI posts to your URL.

    Example:
        A menu of one digit, played twice if no key is pressed::

            PlayGetInput(
                "https://example.com/keys", file_name="menu.wav", max_digit=1, max_retry=2
            )

    Args:
        action_url: Where the digits go; its answer continues the call.
        file_name: The name of a file that was uploaded to TeleCMI.
        file_url: The URL of a file elsewhere. Give exactly one of the two, or the same URL as
            both, as the vendor's Python SDK does.
        max_digit: How many digits to collect at most. TeleCMI's default is 1.
        max_retry: How often the recording is played if no digit arrives.
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
    """Require one source of a recording, and no URL as the name of a file."""
    if file_name is None and file_url is None:
        raise InvalidCall("is missing: give file_name or file_url", path="file_name")
    if file_name is not None and file_url is not None:
        raise InvalidCall("excludes file_name: give one of them", path="file_url")
    if is_.looks_like_url(file_name):
        raise InvalidCall("is a URL: write file_url=… instead", path="file_name")


@frozen
class Input(AnyAction):
    """Collect digits (DTMF) without playing anything; TeleCMI posts them to your URL.

    Example:
        Four digits within 10 seconds::

            Input("https://example.com/keys", max_digit=4, timeout=10)

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
    """Record both directions of the rest of the call: put it before the actions to record.

    Example:
        The greeting is not recorded, the conversation is::

            [Play("welcome.wav"), Record(), Bridge([19170000002]), Hangup()]
    """

    action: ClassVar[Literal["record"]] = "record"


@frozen
class Hangup(AnyAction):
    """End the call.

    Example:
        The last action of most flows::

            [Speak("Goodbye."), Hangup()]
    """

    action: ClassVar[Literal["hangup"]] = "hangup"


@frozen
class Speak(AnyAction):
    """Read a text aloud (text to speech).

    Example:
        A code, digit by digit::

            Speak("Your code is 9. 8. 9. 7.")

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

    Example:
        A value that later events of the call bring back::

            Param("gold customer")

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
    """Stream the call's audio to your WebSocket server, and its audio back to the call.

    Example:
        Only what the callee says, at 8 kHz::

            Stream("wss://example.com/audio", listen_mode="callee", voice_quality="8000")

    Args:
        ws_url: Your server; TeleCMI is the client. Its query may carry an id of the call.
        listen_mode: Which side is captured. It is required in TeleCMI's table, but not in its
            SDKs.
        voice_quality: The sample rate in Hz: 8000 or 16000. The vendor's READMEs name 12000
            and 32000 as well. They have ints where its pages have strings: the value is sent
            as given.
        stream_on_answer: Whether to wait for the answer. TeleCMI's default is false.

    Raises:
        InvalidCall: A value cannot be sent.
    """

    action: ClassVar[Literal["stream"]] = "stream"

    ws_url: str = field(validator=is_.ws_url)
    listen_mode: ListenMode | None = field(
        default=None, kw_only=True, validator=_one_of(ListenMode)
    )
    voice_quality: VoiceQuality | None = field(
        default=None, kw_only=True, validator=_one_of(VoiceQuality)
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
    """An action that this package does not know, or a known one sent exactly as written.

    Use it for an action that TeleCMI has added since. The data is copied; it must be a JSON
    object that names an action, and is not checked further.

    Example:
        An action that this package does not know yet::

            Raw({"action": "whisper", "text": "A customer from the web shop."})

    Args:
        data: The action as it goes on the wire.

    Raises:
        InvalidCall: It is not a JSON object, or has no ``"action"``.
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

#: All actions with a known name, by name.
ACTIONS: dict[str, type[Action]] = {
    kind.action: kind for kind in get_args(Action) if kind is not Raw
}

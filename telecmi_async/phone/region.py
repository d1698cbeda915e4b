"""Region: which of TeleCMI's two endpoints a call takes."""

from __future__ import annotations

from enum import StrEnum, unique

from telecmi_async._internal.messages import listed, shown
from telecmi_async.errors import InvalidCall


@unique
class Region(StrEnum):
    """Which of TeleCMI's two make-call endpoints a call goes to."""

    #: India when the callee is ``91`` and ten digits, else global.
    AUTO = "auto"
    #: ``/ind_pcmo_make_call``
    INDIA = "india"
    #: ``/global_pcmo_make_call``
    GLOBAL = "global"


def parse_region(value: object, path: str = "region") -> Region:
    """Return the `Region` that a name stands for.

    Raises:
        InvalidCall: It is not ``"auto"``, ``"india"`` or ``"global"``.
    """
    try:
        return Region(value)  # type: ignore[arg-type]  # a wrong type is what it refuses
    except ValueError:
        raise InvalidCall(f"must be {listed(Region)}, not {shown(value)}", path=path) from None


def route(region: Region, to: int) -> Region:
    """Return the region that a call goes to: ``INDIA`` or ``GLOBAL``.

    TeleCMI documents one endpoint "within India" and one for the rest, and its own SDKs
    disagree about which end decides (the Python one looks at the caller id, the Node one
    at the callee). The callee's full number decides here: ``91`` and ten digits.
    """
    if region is not Region.AUTO:
        return region
    digits = str(to)
    return Region.INDIA if len(digits) == 12 and digits.startswith("91") else Region.GLOBAL

"""Phone numbers: how they are read, and which of TeleCMI's two endpoints a call takes."""

from __future__ import annotations

from telecmi_async._internal.public_names import public_dir
from telecmi_async.phone.number import parse_number, parse_numbers
from telecmi_async.phone.region import Region, parse_region, route

__all__ = ["Region", "parse_number", "parse_numbers", "parse_region", "route"]

__dir__ = public_dir(__name__, __all__)

"""How fast calls may start, and how many requests may be under way."""

from telecmi_async.rate.channels import LONGEST_CALL, RINGING, Channels
from telecmi_async.rate.gate import Gate
from telecmi_async.rate.limit import RateLimit
from telecmi_async.rate.spacing import Spacing

__all__ = ["LONGEST_CALL", "RINGING", "Channels", "Gate", "RateLimit", "Spacing"]

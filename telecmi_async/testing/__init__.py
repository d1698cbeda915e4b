"""What tests of code that places calls need: time that does not pass, cancels everywhere.

Edge of the package: nothing in the core imports it. trio is only imported once it is asked
for, so asyncio users need not have it.
"""

from __future__ import annotations

from telecmi_async.testing.cancellation import cancel_everywhere
from telecmi_async.testing.clock import VirtualClockLoop, run, virtual_backend

__all__ = ["VirtualClockLoop", "cancel_everywhere", "run", "virtual_backend"]

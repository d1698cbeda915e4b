"""Simulated callers of voice bots: what a callee says and hears when a flow streams a call.

An implementation of TeleCMI's far end of its own: it shares no code with `telecmi_async.voice`,
which is tested against it.
"""

__all__: list[str] = []

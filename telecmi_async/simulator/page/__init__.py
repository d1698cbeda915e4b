"""Web page of a simulator: shows its calls and requests, and has buttons to control it."""

from telecmi_async.simulator.page.routes import Page

__all__ = ["Page"]

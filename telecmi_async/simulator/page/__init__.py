"""Page for people: shows what a simulator does, and lets them change it."""

from telecmi_async.simulator.page.routes import Page

__all__ = ["Page"]

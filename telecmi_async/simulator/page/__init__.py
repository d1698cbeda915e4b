"""The simulator's page, for people: what it does now.

`markup` escapes, `words` masks, `frame` is what all views have in common, `views` are what is
seen, `deeds` what can be done, and `routes` decides who is shown anything at all.
"""

from telecmi_async.simulator.page.routes import answer_page

__all__ = ["answer_page"]

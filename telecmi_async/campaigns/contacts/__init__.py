"""Contacts: files of phone numbers, and the export of what became of them."""

from __future__ import annotations

from telecmi_async._internal.public_names import public_dir
from telecmi_async.campaigns.contacts import export
from telecmi_async.campaigns.contacts.files import ContactsFile, Rejection, Survey, survey

__all__ = ["ContactsFile", "Rejection", "Survey", "export", "survey"]

__dir__ = public_dir(__name__, __all__)

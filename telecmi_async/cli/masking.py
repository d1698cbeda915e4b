"""Masking: JSON values without numbers that could be dialled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from telecmi_async._internal.messages import mask_in


def masked(value: object) -> object:
    """Return a JSON value with its phone numbers masked; ints become strings."""
    if isinstance(value, Mapping):
        given = cast("Mapping[str, object]", value)
        return {mask_in(name): masked(each) for name, each in given.items()}
    if isinstance(value, str):
        return mask_in(value)
    if isinstance(value, Sequence):
        return [masked(each) for each in cast("Sequence[object]", value)]
    text = str(value)
    hidden = mask_in(text)
    return value if hidden == text else hidden

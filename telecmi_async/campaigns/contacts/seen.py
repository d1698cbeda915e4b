"""Which numbers a file held so far, and in which row: twelve bytes a place.

A dict of a million ints needs ten times the memory. This is a hash table with open addressing
(linear probing) in two arrays.
"""

from __future__ import annotations

from array import array

__all__ = ["Seen"]

_SMALLEST = 1 << 10
# Knuth's multiplicative hashing: 2**64 divided by the golden ratio.
_FACTOR = 0x9E3779B97F4A7C15
_64_BITS = (1 << 64) - 1


class Seen:
    """Numbers, and the row of each."""

    __slots__ = ("_count", "_numbers", "_rows", "_shift")

    def __init__(self) -> None:
        self._count = 0
        self._make_room(_SMALLEST)

    def __len__(self) -> int:
        return self._count

    def first(self, number: int, row: int) -> int:
        """Note a number and its row; return the row it was in first, which may be this one."""
        numbers = self._numbers
        mask = len(numbers) - 1
        place = (number * _FACTOR & _64_BITS) >> self._shift
        while (there := numbers[place]) and there != number:
            place = (place + 1) & mask
        if there:
            return self._rows[place]
        numbers[place] = number
        self._rows[place] = row
        self._count += 1
        if self._count * 5 > len(numbers) * 3:
            self._grow()
        return row

    def _make_room(self, places: int) -> None:
        self._numbers = array("Q", bytes(8 * places))
        self._rows = array("I", bytes(array("I").itemsize * places))
        self._shift = 64 - (places.bit_length() - 1)

    def _grow(self) -> None:
        numbers, rows = self._numbers, self._rows
        self._count = 0
        self._make_room(len(numbers) * 2)
        for number, row in zip(numbers, rows, strict=True):
            if number:
                self.first(number, row)

"""Numbering plans: how long the numbers behind each country calling code are.

The facts are those of the national numbering plans (ITU-T E.164, and what countries report to
the ITU), as of 2026, of numbers that ring a phone and are reached from abroad. Codes of no
country are left out on purpose: satellite phones and international networks (870, 881, 882,
883) are expensive, popular with fraudsters, and what an Indian mobile number begins with if its
country code was forgotten.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple


class NumberingPlan(NamedTuple):
    """The numbers behind one calling code.

    Args:
        code: The calling code.
        lengths: How many digits may follow it.
        drops_zero: Whether a 0 is dialled before them within the country, and not from abroad.
        keeps_zero: Whether some of them begin with 0, from abroad too.
        span: The lengths in words: ``"5 or 6 or 8 to 11"``.
    """

    code: str
    lengths: frozenset[int]
    drops_zero: bool
    keeps_zero: bool
    span: str


def plan_of(digits: str) -> NumberingPlan | None:
    """Return the plan of the calling code that digits begin with; ``None`` if there is none."""
    # No code is the beginning of another one.
    for length in range(1, 5):
        if digits[:length] in _PLANS:
            return plan_of_code(digits[:length])
    return None


@cache
def plan_of_code(code: str) -> NumberingPlan:
    """Return the plan of a country's calling code."""
    text = _PLANS[code]
    lengths: set[int] = set()
    spans: list[str] = []
    for span in text.removeprefix("(0)").removeprefix("0?").split(","):
        fewest, _, most = span.partition("-")
        known = range(int(fewest), int(most or fewest) + 1)
        lengths.update(known)
        spans += map(str, known) if len(known) <= 2 else [f"{fewest} to {most}"]
    return NumberingPlan(
        code,
        frozenset(lengths),
        drops_zero=text.startswith("(0)"),
        keeps_zero=text.startswith("0?"),
        span=" or ".join(spans),
    )


def plan_codes() -> frozenset[str]:
    """Return all calling codes of countries."""
    return frozenset(_PLANS)


# By calling code the lengths of its numbers: "(0)" before them if a 0 is dialled within the
# country only, "0?" if numbers may begin with 0, from abroad too; else no number begins with 0.
_PLANS: Final[dict[str, str]] = {
    "1": "10", "20": "(0)8-10", "211": "(0)9", "212": "(0)9", "213": "(0)8-9", "216": "8",
    "218": "(0)9", "220": "7,9", "221": "9", "222": "8", "223": "8", "224": "8-9",
    "225": "0?10", "226": "0?8", "227": "8", "228": "8", "229": "0?10", "230": "7-8",
    "231": "(0)7-9", "232": "(0)8", "233": "(0)9", "234": "(0)10", "235": "8", "236": "8",
    "237": "9", "238": "7", "239": "7", "240": "9", "241": "0?7-8", "242": "0?9",
    "243": "(0)7-10", "244": "9", "245": "7,9", "246": "7", "247": "5", "248": "7",
    "249": "(0)9", "250": "0?8-9", "251": "(0)9", "252": "(0)6-9", "253": "8", "254": "(0)7-9",
    "255": "(0)9", "256": "(0)9", "257": "8", "258": "8-9", "260": "(0)9", "261": "(0)9",
    "262": "(0)9", "263": "(0)9-10", "264": "(0)8-9", "265": "(0)7,9", "266": "8",
    "267": "7-8", "268": "8", "269": "7", "27": "(0)9", "290": "4-5", "291": "(0)7",
    "297": "7", "298": "6", "299": "6", "30": "10", "31": "(0)9,11", "32": "(0)8-9",
    "33": "(0)9", "34": "9", "350": "8", "351": "9", "352": "4-11", "353": "(0)7-10",
    "354": "7,9", "355": "(0)8-9", "356": "8", "357": "8", "358": "(0)5-10", "359": "(0)6-9",
    "36": "8-9", "370": "(0)8", "371": "8", "372": "7-8", "373": "(0)8", "374": "(0)8",
    "375": "9", "376": "6,9", "377": "(0)8-9", "378": "0?8,10", "380": "(0)9",
    "381": "(0)7-12", "382": "(0)8", "383": "(0)8-12", "385": "(0)8-9", "386": "(0)8",
    "387": "(0)8-9", "389": "(0)8", "39": "0?6-12", "40": "(0)6,9", "41": "(0)9", "420": "9",
    "421": "(0)6-7,9", "423": "(0)7,9", "43": "(0)5-13", "44": "(0)9-10", "45": "8",
    "46": "(0)7-9", "47": "8", "48": "7,9", "49": "(0)5-13", "500": "5", "501": "7",
    "502": "8", "503": "8", "504": "8", "505": "8", "506": "8", "507": "7-8", "508": "(0)6,9",
    "509": "8", "51": "(0)8-9", "52": "10", "53": "(0)6-8,10", "54": "(0)10-11",
    "55": "(0)10-11", "56": "9", "57": "(0)8,10", "58": "(0)10", "590": "(0)9", "591": "(0)8",
    "592": "7", "593": "(0)8-9", "594": "(0)9", "595": "(0)7-9", "596": "(0)9", "597": "6-7",
    "598": "(0)8", "599": "7-8", "60": "(0)8-10", "61": "(0)9", "62": "(0)7-12",
    "63": "(0)6,8-10", "64": "(0)8-10", "65": "8", "66": "(0)8-9", "670": "7-8", "6721": "0?5",
    "6723": "0?5", "673": "7", "674": "7", "675": "7-8", "676": "5,7", "677": "5,7",
    "678": "5,7", "679": "7", "680": "7", "681": "6", "682": "5", "683": "4,7",
    "685": "5-7,10", "686": "(0)5,8", "687": "6", "688": "5-7", "689": "8", "690": "4-7",
    "691": "7", "692": "7", "7": "10", "81": "(0)9-10", "82": "(0)5-6,8-11", "84": "(0)9-10",
    "850": "(0)8,10", "852": "8", "853": "8", "855": "(0)8-9", "856": "(0)8-10",
    "86": "(0)7-11", "880": "(0)6-10", "886": "(0)8-11", "90": "(0)10", "91": "(0)10",
    "92": "(0)9-10", "93": "(0)9", "94": "(0)9", "95": "(0)6-10", "960": "7", "961": "(0)7-8",
    "962": "(0)8-9", "963": "(0)8-9", "964": "(0)8-10", "965": "8", "966": "(0)9",
    "967": "(0)7-9", "968": "8", "970": "(0)8-9", "971": "(0)8-9", "972": "(0)8-9,11-12",
    "973": "8", "974": "8", "975": "7-8", "976": "(0)8-10", "977": "(0)8,10",
    "98": "(0)10", "992": "0?9", "993": "8", "994": "(0)9", "995": "(0)9", "996": "(0)9",
    "998": "9",
}  # fmt: skip

"""Time zones: the country of a phone number, and the time zones of that country.

Where a country has several time zones, all of them are returned, and a caller has to respect
each. The table holds facts: codes as the ITU assigns them (E.164), countries as ISO 3166
abbreviates them, zones as the tz database lists them for a country (its `zone.tab`). Where
several countries share a code, those that can be distinguished by the next digits have separate
entries. Left out are research stations and islands of a few dozen people whose time zones would
close the window for millions, and codes that belong to no country (satellite phones,
freephone).
"""

from __future__ import annotations

from functools import cache, lru_cache

from attrs import frozen

#: The digits of the longest code.
LONGEST = 7


@frozen
class CallingCode:
    """A calling code, the countries that use it (``"US/CA"``), and the names of their zones."""

    digits: str
    countries: str
    zones: tuple[str, ...]


@cache
def calling_codes() -> dict[str, CallingCode]:
    """Return all codes, by their digits."""
    found: dict[str, CallingCode] = {}
    # An entry ends with its line or at a bar; a line that begins with a blank continues one.
    for entry in _TABLE.replace("\n ", " ").strip().replace("|", "\n").splitlines():
        digits, countries, *zones = entry.split()
        found[digits] = CallingCode(digits, countries, tuple(zones))
    return found


def calling_code_of(number: int) -> CallingCode | None:
    """Return the country calling code that a number begins with, if there is one."""
    return _code_at(str(number)[:LONGEST])


@lru_cache(maxsize=65_536)
def _code_at(start: str) -> CallingCode | None:
    codes = calling_codes()
    for length in range(len(start), 0, -1):
        if code := codes.get(start[:length]):
            return code
    return None


def country_of(number: int) -> str | None:
    """Return the country that a number belongs to, as ISO 3166 abbreviates it.

    Countries that share a code are returned together: ``"US/CA"``. ``None`` if no country has
    that code.

    Example:
        The country of a number::

            from telecmi_async.campaigns import country_of

            print(country_of(919876543210))  # IN
    """
    code = calling_code_of(number)
    return None if code is None else code.countries


def zones_of(number: int) -> tuple[str, ...]:
    """Return the names of all time zones that a number's owner may live in, if any.

    Example:
        The time zones of a number's country::

            from telecmi_async.campaigns import zones_of

            print(zones_of(919876543210))  # ('Asia/Kolkata',)
    """
    code = calling_code_of(number)
    return () if code is None else code.zones


_TABLE = """
1 US/CA America/New_York America/Detroit America/Kentucky/Louisville
  America/Kentucky/Monticello America/Indiana/Indianapolis America/Indiana/Vincennes
  America/Indiana/Winamac America/Indiana/Marengo America/Indiana/Petersburg
  America/Indiana/Vevay America/Chicago America/Indiana/Tell_City America/Indiana/Knox
  America/Menominee America/North_Dakota/Center America/North_Dakota/New_Salem
  America/North_Dakota/Beulah America/Denver America/Boise America/Phoenix America/Los_Angeles
  America/Anchorage America/Juneau America/Sitka America/Metlakatla America/Yakutat
  America/Nome America/Adak Pacific/Honolulu America/St_Johns America/Halifax
  America/Glace_Bay America/Moncton America/Goose_Bay America/Blanc-Sablon America/Toronto
  America/Iqaluit America/Atikokan America/Winnipeg America/Resolute America/Rankin_Inlet
  America/Regina America/Swift_Current America/Edmonton America/Cambridge_Bay America/Inuvik
  America/Creston America/Dawson_Creek America/Fort_Nelson America/Whitehorse America/Dawson
  America/Vancouver | 1242 BS America/Nassau | 1246 BB America/Barbados
1264 AI America/Anguilla | 1268 AG America/Antigua | 1284 VG America/Tortola
1340 VI America/St_Thomas | 1345 KY America/Cayman | 1441 BM Atlantic/Bermuda
1473 GD America/Grenada | 1649 TC America/Grand_Turk | 1658 JM America/Jamaica
1664 MS America/Montserrat | 1670 MP Pacific/Saipan | 1671 GU Pacific/Guam
1684 AS Pacific/Pago_Pago | 1721 SX America/Lower_Princes | 1758 LC America/St_Lucia
1767 DM America/Dominica | 1784 VC America/St_Vincent | 1787 PR America/Puerto_Rico
1809 DO America/Santo_Domingo | 1829 DO America/Santo_Domingo | 1849 DO America/Santo_Domingo
1868 TT America/Port_of_Spain | 1869 KN America/St_Kitts | 1876 JM America/Jamaica
1939 PR America/Puerto_Rico
20 EG Africa/Cairo | 211 SS Africa/Juba | 212 MA/EH Africa/Casablanca Africa/El_Aaiun
213 DZ Africa/Algiers | 216 TN Africa/Tunis | 218 LY Africa/Tripoli | 220 GM Africa/Banjul
221 SN Africa/Dakar | 222 MR Africa/Nouakchott | 223 ML Africa/Bamako | 224 GN Africa/Conakry
225 CI Africa/Abidjan | 226 BF Africa/Ouagadougou | 227 NE Africa/Niamey | 228 TG Africa/Lome
229 BJ Africa/Porto-Novo | 230 MU Indian/Mauritius | 231 LR Africa/Monrovia
232 SL Africa/Freetown | 233 GH Africa/Accra | 234 NG Africa/Lagos | 235 TD Africa/Ndjamena
236 CF Africa/Bangui | 237 CM Africa/Douala | 238 CV Atlantic/Cape_Verde
239 ST Africa/Sao_Tome | 240 GQ Africa/Malabo | 241 GA Africa/Libreville
242 CG Africa/Brazzaville | 243 CD Africa/Kinshasa Africa/Lubumbashi | 244 AO Africa/Luanda
245 GW Africa/Bissau | 246 IO Indian/Chagos | 247 SH Atlantic/St_Helena | 248 SC Indian/Mahe
249 SD Africa/Khartoum | 250 RW Africa/Kigali | 251 ET Africa/Addis_Ababa
252 SO Africa/Mogadishu | 253 DJ Africa/Djibouti | 254 KE Africa/Nairobi
255 TZ Africa/Dar_es_Salaam | 256 UG Africa/Kampala | 257 BI Africa/Bujumbura
258 MZ Africa/Maputo | 260 ZM Africa/Lusaka | 261 MG Indian/Antananarivo
262 RE/YT Indian/Reunion Indian/Mayotte | 263 ZW Africa/Harare | 264 NA Africa/Windhoek
265 MW Africa/Blantyre | 266 LS Africa/Maseru | 267 BW Africa/Gaborone | 268 SZ Africa/Mbabane
269 KM Indian/Comoro | 27 ZA Africa/Johannesburg | 290 SH Atlantic/St_Helena
291 ER Africa/Asmara | 297 AW America/Aruba | 298 FO Atlantic/Faroe
299 GL America/Nuuk America/Danmarkshavn America/Scoresbysund America/Thule
30 GR Europe/Athens | 31 NL Europe/Amsterdam | 32 BE Europe/Brussels | 33 FR Europe/Paris
34 ES Europe/Madrid Africa/Ceuta Atlantic/Canary | 350 GI Europe/Gibraltar
351 PT Europe/Lisbon Atlantic/Madeira Atlantic/Azores | 352 LU Europe/Luxembourg
353 IE Europe/Dublin | 354 IS Atlantic/Reykjavik | 355 AL Europe/Tirane | 356 MT Europe/Malta
357 CY Asia/Nicosia Asia/Famagusta | 358 FI/AX Europe/Helsinki Europe/Mariehamn
359 BG Europe/Sofia | 36 HU Europe/Budapest | 370 LT Europe/Vilnius | 371 LV Europe/Riga
372 EE Europe/Tallinn | 373 MD Europe/Chisinau | 374 AM Asia/Yerevan | 375 BY Europe/Minsk
376 AD Europe/Andorra | 377 MC Europe/Monaco | 378 SM Europe/San_Marino
380 UA Europe/Simferopol Europe/Kyiv | 381 RS Europe/Belgrade | 382 ME Europe/Podgorica
383 XK Europe/Belgrade | 385 HR Europe/Zagreb | 386 SI Europe/Ljubljana
387 BA Europe/Sarajevo | 389 MK Europe/Skopje | 39 IT/VA Europe/Rome Europe/Vatican
40 RO Europe/Bucharest | 41 CH Europe/Zurich | 420 CZ Europe/Prague | 421 SK Europe/Bratislava
423 LI Europe/Vaduz | 43 AT Europe/Vienna
44 GB/GG/IM/JE Europe/London Europe/Guernsey Europe/Isle_of_Man Europe/Jersey
45 DK Europe/Copenhagen | 46 SE Europe/Stockholm | 47 NO/SJ Europe/Oslo Arctic/Longyearbyen
48 PL Europe/Warsaw | 49 DE Europe/Berlin Europe/Busingen
500 FK/GS Atlantic/Stanley Atlantic/South_Georgia | 501 BZ America/Belize
502 GT America/Guatemala | 503 SV America/El_Salvador | 504 HN America/Tegucigalpa
505 NI America/Managua | 506 CR America/Costa_Rica | 507 PA America/Panama
508 PM America/Miquelon | 509 HT America/Port-au-Prince | 51 PE America/Lima
52 MX America/Mexico_City America/Cancun America/Merida America/Monterrey America/Matamoros
  America/Chihuahua America/Ciudad_Juarez America/Ojinaga America/Mazatlan
  America/Bahia_Banderas America/Hermosillo America/Tijuana | 53 CU America/Havana
54 AR America/Argentina/Buenos_Aires America/Argentina/Cordoba America/Argentina/Salta
  America/Argentina/Jujuy America/Argentina/Tucuman America/Argentina/Catamarca
  America/Argentina/La_Rioja America/Argentina/San_Juan America/Argentina/Mendoza
  America/Argentina/San_Luis America/Argentina/Rio_Gallegos America/Argentina/Ushuaia
55 BR America/Noronha America/Belem America/Fortaleza America/Recife America/Araguaina
  America/Maceio America/Bahia America/Sao_Paulo America/Campo_Grande America/Cuiaba
  America/Santarem America/Porto_Velho America/Boa_Vista America/Manaus America/Eirunepe
  America/Rio_Branco
56 CL America/Santiago America/Coyhaique America/Punta_Arenas Pacific/Easter
57 CO America/Bogota | 58 VE America/Caracas
590 GP/BL/MF America/Guadeloupe America/St_Barthelemy America/Marigot | 591 BO America/La_Paz
592 GY America/Guyana | 593 EC America/Guayaquil Pacific/Galapagos | 594 GF America/Cayenne
595 PY America/Asuncion | 596 MQ America/Martinique | 597 SR America/Paramaribo
598 UY America/Montevideo | 599 CW/BQ America/Curacao America/Kralendijk
60 MY Asia/Kuala_Lumpur Asia/Kuching
61 AU Australia/Lord_Howe Antarctica/Macquarie Australia/Hobart Australia/Melbourne
  Australia/Sydney Australia/Broken_Hill Australia/Brisbane Australia/Lindeman
  Australia/Adelaide Australia/Darwin Australia/Perth Australia/Eucla
6189162 CC Indian/Cocos | 6189164 CX Indian/Christmas
62 ID Asia/Jakarta Asia/Pontianak Asia/Makassar Asia/Jayapura | 63 PH Asia/Manila
64 NZ Pacific/Auckland Pacific/Chatham | 65 SG Asia/Singapore | 66 TH Asia/Bangkok
670 TL Asia/Dili | 6721 AQ Antarctica/Casey Antarctica/Davis Antarctica/Mawson
6723 NF Pacific/Norfolk | 673 BN Asia/Brunei | 674 NR Pacific/Nauru
675 PG Pacific/Port_Moresby Pacific/Bougainville | 676 TO Pacific/Tongatapu
677 SB Pacific/Guadalcanal | 678 VU Pacific/Efate | 679 FJ Pacific/Fiji | 680 PW Pacific/Palau
681 WF Pacific/Wallis | 682 CK Pacific/Rarotonga | 683 NU Pacific/Niue | 685 WS Pacific/Apia
686 KI Pacific/Tarawa Pacific/Kanton Pacific/Kiritimati | 687 NC Pacific/Noumea
688 TV Pacific/Funafuti | 689 PF Pacific/Tahiti Pacific/Marquesas Pacific/Gambier
690 TK Pacific/Fakaofo | 691 FM Pacific/Chuuk Pacific/Pohnpei Pacific/Kosrae
692 MH Pacific/Majuro Pacific/Kwajalein
7 RU Europe/Kaliningrad Europe/Moscow Europe/Kirov Europe/Volgograd Europe/Astrakhan
  Europe/Saratov Europe/Ulyanovsk Europe/Samara Asia/Yekaterinburg Asia/Omsk Asia/Novosibirsk
  Asia/Barnaul Asia/Tomsk Asia/Novokuznetsk Asia/Krasnoyarsk Asia/Irkutsk Asia/Chita
  Asia/Yakutsk Asia/Khandyga Asia/Vladivostok Asia/Ust-Nera Asia/Magadan Asia/Sakhalin
  Asia/Srednekolymsk Asia/Kamchatka Asia/Anadyr
76 KZ Asia/Almaty Asia/Qyzylorda Asia/Qostanay Asia/Aqtobe Asia/Aqtau Asia/Atyrau Asia/Oral
77 KZ Asia/Almaty Asia/Qyzylorda Asia/Qostanay Asia/Aqtobe Asia/Aqtau Asia/Atyrau Asia/Oral
81 JP Asia/Tokyo | 82 KR Asia/Seoul | 84 VN Asia/Ho_Chi_Minh | 850 KP Asia/Pyongyang
852 HK Asia/Hong_Kong | 853 MO Asia/Macau | 855 KH Asia/Phnom_Penh | 856 LA Asia/Vientiane
86 CN Asia/Shanghai Asia/Urumqi | 880 BD Asia/Dhaka | 886 TW Asia/Taipei
90 TR Europe/Istanbul | 91 IN Asia/Kolkata | 92 PK Asia/Karachi | 93 AF Asia/Kabul
94 LK Asia/Colombo | 95 MM Asia/Yangon | 960 MV Indian/Maldives | 961 LB Asia/Beirut
962 JO Asia/Amman | 963 SY Asia/Damascus | 964 IQ Asia/Baghdad | 965 KW Asia/Kuwait
966 SA Asia/Riyadh | 967 YE Asia/Aden | 968 OM Asia/Muscat | 970 PS Asia/Gaza Asia/Hebron
971 AE Asia/Dubai | 972 IL Asia/Jerusalem | 973 BH Asia/Bahrain | 974 QA Asia/Qatar
975 BT Asia/Thimphu | 976 MN Asia/Ulaanbaatar Asia/Hovd | 977 NP Asia/Kathmandu
98 IR Asia/Tehran | 992 TJ Asia/Dushanbe | 993 TM Asia/Ashgabat | 994 AZ Asia/Baku
995 GE Asia/Tbilisi | 996 KG Asia/Bishkek | 998 UZ Asia/Samarkand Asia/Tashkent
"""

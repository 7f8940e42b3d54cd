"""Units and bounded types of the ledger.

Invariants: 1 TAO = 10^9 RAO, whole RAO only. Bounds in these types are checked wherever bytes are decoded.
"""

import hashlib
import re
from typing import Annotated

from msgspec import Meta

from ledger.epoch.emission import CAP_RAO
from ledger.epoch.fixed import ONE_Q31

RAO_PER_TAO = 10**9
U16_MAX = 65535

Rao = Annotated[int, Meta(ge=0, le=CAP_RAO)]
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Uid = Annotated[int, Meta(ge=0, le=U16_MAX)]
U16 = Annotated[int, Meta(ge=0, le=U16_MAX)]
Q31Part = Annotated[int, Meta(ge=0, le=ONE_Q31)]
NANO_BITS_MAX = 2**60
NanoBits = Annotated[int, Meta(ge=-NANO_BITS_MAX, le=NANO_BITS_MAX)]
"""10^-9 bits per byte, signed."""
Hash32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature64 = Annotated[bytes, Meta(min_length=64, max_length=64)]

_TAO = re.compile(r"([0-9]+)(?:\.([0-9]{1,9}))?")


def blake2b_256(*parts: bytes) -> bytes:
    """BLAKE2b with a 32-byte digest (RFC 7693) of the parts' concatenation."""
    return hashlib.blake2b(b"".join(parts), digest_size=32).digest()


def format_tao(rao: int) -> str:
    """RAO as TAO with all nine decimals, exactly: 1500000000 gives "1.500000000"."""
    sign = "-" if rao < 0 else ""
    whole, fraction = divmod(abs(rao), RAO_PER_TAO)
    return f"{sign}{whole}.{fraction:09d}"


def parse_tao(text: str) -> int:
    """TAO as a person writes it, in RAO; ValueError if it isn't a decimal number with at most nine decimals."""
    match = _TAO.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount of TAO: write digits, and at most nine decimals")
    return int(match[1]) * RAO_PER_TAO + int((match[2] or "").ljust(9, "0"))

"""A block's signatures are all checked, in however many threads."""

import hashlib

import pytest
from msgspec.structs import replace

from ledger.errors import Refusal
from ledger.extrinsics import Transfer, sign_extrinsic
from ledger.keys import Keypair
from ledger.sealing import check_signatures


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 63, 200])
def test_one_bad_signature_anywhere_is_refused(threads: int, count: int) -> None:
    genesis_hash, key = bytes(32), Keypair.from_seed(hashlib.sha256(b"key").digest())
    signed = [
        sign_extrinsic(Transfer(to=bytes(32), amount_rao=1), key, genesis_hash=genesis_hash, nonce=nonce, valid_until=9)
        for nonce in range(1, count + 1)
    ]
    check_signatures(signed, genesis_hash, threads)
    for place in {0, 1, count // 2, count - 1} & set(range(count)):
        forged = [*signed[:place], replace(signed[place], nonce=0), *signed[place + 1 :]]
        with pytest.raises(Refusal, match="bad_signature"):
            check_signatures(forged, genesis_hash, threads)
    if count:
        with pytest.raises(Refusal, match="bad_signature"):
            check_signatures(signed, bytes([1]) * 32, threads)

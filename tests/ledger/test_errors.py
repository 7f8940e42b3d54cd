"""Errors cross process borders with their fields."""

import pickle

import pytest

from ledger.errors import DamagedLedger, GenesisError, InvalidKey, NotWriter, Refusal, StoreError, WalletError


@pytest.mark.parametrize(
    "error",
    [
        Refusal("bad_nonce", "the next nonce is 3"),
        DamagedLedger(7, "the block is missing"),
        DamagedLedger(None, "the term is missing"),
        GenesisError("parameters.kappa", "expected a ratio"),
        StoreError("the disk is full"),
        NotWriter("process 1 writes"),
        WalletError("no such key"),
        InvalidKey("no key"),
    ],
)
def test_an_error_survives_pickle(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again), again.args) == (str(error), vars(error), error.args)

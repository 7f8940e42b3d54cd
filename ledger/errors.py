"""Every way the ledger says no.

Invariants: a Refusal is expected in normal operation and leaves the state as it was; its code is stable and listed in
REFUSALS. All errors keep their fields as `args`, so that they cross process borders by pickle unharmed.
"""

REFUSALS: dict[str, str] = {
    "account_too_small": "The receiver's account would stay below the existential deposit; send more.",
    "already_committed": "This validator has already committed in this epoch; reveal that commitment.",
    "already_proven": "An equivocation of this key, as high or higher, is on record; report only later ones.",
    "already_published": "Another neuron published this version before; publish one of your own.",
    "already_registered": "This hotkey already has a uid; use it, or register another hotkey.",
    "already_revealed": "This validator has already revealed in this epoch; vote again in the next.",
    "amount_too_small": "The amount is below the least that this call moves; move more.",
    "bad_nonce": "The nonce must be the signer's last one plus one; read it again and sign anew.",
    "bad_proof": "These are not two blocks or votes of one key, height and term; send both as they were signed.",
    "bad_seed": "The seed signature does not verify; sign this epoch and the previous close block's hash.",
    "bad_signature": "The signature does not verify; sign with the signer's key, for this network's genesis hash.",
    "bad_vote": "The vote does not verify, or not for this block and set; sign this block with a key of its set.",
    "bad_weights": "The row is malformed; uids must ascend without repetition, be registered, and have one value each.",
    "barred": "An equivocation of this hotkey was proven; vote again from the epoch that the sentence names.",
    "block_too_large": "The extrinsics do not fit into one block; leave some for the next.",
    "commitment_mismatch": "The reveal is not what was committed to; reveal that, with its salt.",
    "expired": "The block is beyond the extrinsic's last valid height; sign anew.",
    "hotkey_known": "The new hotkey is in the ledger already; take a fresh one.",
    "hotkey_retired": "This hotkey was swapped for another; use that one.",
    "insufficient_balance": "The account's free balance does not cover the amount; move less, or fund it first.",
    "insufficient_stake": "The signer's share of this pool is worth less than the amount; take less.",
    "invalid_call": "A field of the call is out of its bounds; mend the one that the sentence names.",
    "invalid_collective": "The proposed collective is malformed or names unknown versions; propose known ones.",
    "invalid_rounds": "The vote on a cohort's round is malformed or values what is not in it; value its updates alone.",
    "late_commitment": "The commit block of the epoch is past; commit in the next epoch.",
    "late_contribution": "The open block of the epoch is past; contribute to the next round.",
    "late_reveal": "The close block of the epoch is past and its votes are counted; vote in the next epoch.",
    "mempool_full": "Too many extrinsics are waiting; try again later.",
    "no_commitment": "There is no commitment of this validator in an earlier block of this epoch; commit first.",
    "no_mandate": "A term is led by promises of more than 2/3 of the stake; show them first.",
    "no_oath": "What this validator signed is not known any more; bring its oath back, or swap its hotkey.",
    "no_permit": "The signer's neuron holds no validator permit in this epoch; the largest stakes get them.",
    "no_slot": "All uids are taken by neurons that are still immune; try again later.",
    "no_version": "The neuron has no version to withdraw; publish one first.",
    "not_canonical": "The bytes are not the canonical encoding of what they say; encode them again.",
    "not_final": "The block before it is not final yet; collect its votes first.",
    "not_owner": "The hotkey belongs to another coldkey; sign with that one.",
    "not_registered": "The hotkey has no uid; register it first.",
    "price_too_high": "The price of registration is above what the signer accepts; accept more, or wait.",
    "rate_limited": "The hotkey has no more of these calls in this epoch; sign anew for the next.",
    "take_out_of_bounds": "The take is outside the network's bounds; ask for one within them.",
    "take_raised_early": "A take can be raised only after it stood for the network's interval; lower it, or wait.",
    "too_large": "The extrinsic is longer than the network allows; send less in it.",
    "undecodable": "The bytes are not an extrinsic; send one in the ledger's encoding.",
    "wrong_block": "Parent, keeper, signature, receipts or roots differ; a block must follow from this chain.",
    "wrong_epoch": "The call is for another epoch; sign it for the current one.",
    "wrong_kind": "The block is of another kind than the next; blocks come in the order open, commit, close.",
    "wrong_phase": "This kind of block does not take this call; send it for the block of its own step.",
    "wrong_term": "The block is for another term than this ledger's; read its term again.",
}
"""By code: what is wrong, and after the semicolon what to do."""
"""By code: what is wrong, and after the semicolon what to do."""
"""By code: what is wrong, and after the semicolon what to do."""


class LedgerError(Exception):
    """Base of everything that the ledger raises on purpose."""


class Refusal(LedgerError):
    """An extrinsic, vote or block that a rule does not allow; nothing was changed."""

    def __init__(self, code: str, sentence: str) -> None:
        if code not in REFUSALS:
            raise ValueError(f"refusal code {code!r} is not listed in REFUSALS")
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


class DamagedLedger(LedgerError):
    """What is stored contradicts itself or the rules;

    `height` is the first block (or the head, for a state row) at which it shows.
    """

    def __init__(self, height: int | None, sentence: str) -> None:
        super().__init__(height, sentence)
        self.height = height
        self.sentence = sentence

    def __str__(self) -> str:
        where = "the ledger" if self.height is None else f"the ledger at height {self.height}"
        return f"{where} is damaged: {self.sentence}"


class StoreError(LedgerError):
    """The database can't be created, opened or written: the disk is full, the file is locked, missing, or already
    there.
    """


class Pruned(StoreError):
    """The body of this block was given up to save room; its header, its votes and its extrinsics' hashes are kept."""


class InvalidProof(LedgerError):
    """A proof that does not prove what it says, or not to who asked."""


class NotWriter(LedgerError):
    """This process may not write the ledger: another one does, or it was opened for reading."""


class NotLeading(LedgerError):
    """This keeper's process has not been shown to have the newest ledger, so it neither shows nor writes it."""


class InvalidKey(LedgerError):
    """A key, address or mnemonic that is none."""


class WalletError(LedgerError):
    """A wallet that is missing, already there, unreadable, or locked by a password."""


class GenesisError(LedgerError):
    """A genesis that can't start a network; `field` is the path of what is wrong."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(field, sentence)
        self.field = field
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.field}: {self.sentence}"

"""What the state is made of: one frozen struct per kind of entry.

Invariants: an entry is replaced, never changed, so that a write journal can keep the old one; zero balances, empty
pools and empty shares have no entry.
"""

from typing import Literal

from msgspec import Struct

from ledger.extrinsics import Description, Endpoint, Link, Member, Name, RoundVote, StratumName, UpdateValue
from ledger.trust.finality import Weighted as Weighted
from ledger.units import U16, Hash32, Natural, PublicKey, Q31Part, Rao, Uid

Phase = Literal["closed", "open", "commit"]
NEVER = -1
"""`revealed_epoch` of a neuron that has never voted."""


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all entries."""


class Globals(Entry, frozen=True, kw_only=True):
    """The ledger's scalars. `phase` names the kind of the last block ("closed" after genesis or a close block)."""

    height: Natural = 0
    epoch: Natural = 0
    phase: Phase = "closed"
    issuance_rao: Rao
    genesis_rao: Rao
    minted_rao: Natural = 0
    burned_rao: Natural = 0
    """Sums over all epochs: what is burned can be minted again, so these may pass the cap, which issuance can't."""
    price_rao: Rao
    neuron_count: Natural = 0
    publications: Natural = 0
    """How many versions have been published."""
    contributions: Natural = 0
    """How many updates have been committed to."""
    previous_close_hash: Hash32
    """Hash of the block that closed the epoch before this one (for epoch 1: of block 0; before the first open block:
    the genesis hash).
    """


class Account(Entry, frozen=True, kw_only=True, gc=False):
    """A free balance."""

    free_rao: Rao


class Nonce(Entry, frozen=True, kw_only=True, gc=False):
    """The last nonce that a signer used; outlives its account, so that nothing old can be replayed."""

    value: Natural


class Owner(Entry, frozen=True, kw_only=True, gc=False):
    """The coldkey that a hotkey belongs to, since its first registration, and the first hotkey of its line.

    Stake, take, identity, offences and limits are kept under the origin, so that a swap moves one row for one staker
    and a million.
    """

    coldkey: PublicKey
    origin: PublicKey


class Line(Entry, frozen=True, kw_only=True):
    """By origin: the hotkey that others were swapped for, last."""

    hotkey: PublicKey


class Delegate(Entry, frozen=True, kw_only=True):
    """By origin: what the hotkey keeps of its dividends, in parts of 65535, and the epoch that it was set for."""

    take: U16
    set_epoch: Natural


class Identity(Entry, frozen=True, kw_only=True):
    """By origin: who its coldkey says is behind a hotkey."""

    name: Name
    url: Link
    description: Description


class Usage(Entry, frozen=True, kw_only=True):
    """By origin: how many of its limited calls were applied in the blocks of one epoch."""

    epoch: Natural
    publish: Natural = 0
    checkpoint: Natural = 0
    contribute: Natural = 0
    serve: Natural = 0
    set_identity: Natural = 0
    set_take: Natural = 0
    swap_hotkey: Natural = 0


class Offence(Entry, frozen=True, kw_only=True):
    """By origin, or by a keeper's key: the latest equivocation that was proven, how many there were, and the first
    epoch in which the key's neuron may vote again.
    """

    height: Natural
    term: Natural
    proofs: Natural
    barred_until: Natural


class Pool(Entry, frozen=True, kw_only=True, gc=False):
    """All stake on a hotkey, and the number of shares that own it. Shares never outnumber RAO."""

    total_rao: Rao
    shares: Natural


class Shares(Entry, frozen=True, kw_only=True, gc=False):
    """A coldkey's shares of a hotkey's pool."""

    shares: Natural


class Slot(Entry, frozen=True, kw_only=True, gc=False):
    """The uid that a hotkey holds."""

    uid: Uid


class Checkpointed(Entry, frozen=True, kw_only=True):
    """Parameters that a training step led to, the manifest of their files, and the height at which they were named."""

    parameters: Hash32
    manifest: Hash32
    height: Natural


class Neuron(Entry, frozen=True, kw_only=True):
    """A member of the network. Heights are blocks; `*_q31` and `*_rao` are those of the last close block."""

    uid: Uid
    name: Name
    hotkey: PublicKey
    coldkey: PublicKey
    registered_at: Natural
    registered_epoch: Natural
    last_update: Natural
    """Height of the commitment of its last reveal."""
    revealed_epoch: int
    """The last epoch whose vote it revealed, or NEVER.

    The genesis's permitted neurons count as having voted in epoch 0.
    """
    permit: bool
    manifest: Hash32 | None = None
    published_epoch: Natural = 0
    """The epoch that values the version, 0 if there is none."""
    publication: Natural = 0
    """Which of the network's publications its version is: of two in one epoch the earlier is valued first."""
    versions: Natural = 0
    evidence: Hash32 | None = None
    """Hash of the evidence of its last vote."""
    checkpoint: Checkpointed | None = None
    endpoint: Endpoint | None = None
    """Where it answers, if it says so."""
    missed_reveals: Natural = 0
    """How many of its commitments it never revealed."""
    active: bool = False
    """Whether it had voted within the activity cutoff at the last close."""
    rank_q31: Q31Part = 0
    incentive_q31: Q31Part = 0
    dividends_q31: Q31Part = 0
    consensus_q31: Q31Part = 0
    validator_trust_q31: Q31Part = 0
    incentive_rao: Rao = 0
    dividends_rao: Rao = 0

    @property
    def emission_rao(self) -> int:
        """What the last close block minted for it and its stakers."""
        return self.incentive_rao + self.dividends_rao


class Publisher(Entry, frozen=True, kw_only=True):
    """Who published a manifest first, by the line of its hotkey."""

    origin: PublicKey


class Bonds(Entry, frozen=True, kw_only=True):
    """A validator's bonds: ascending uids and their Q31 parts."""

    uids: tuple[Uid, ...]
    values: tuple[Q31Part, ...]


class Commitment(Entry, frozen=True, kw_only=True):
    """A vote committed to in this epoch, at `height`."""

    commitment: Hash32
    height: Natural


class Revealed(Entry, frozen=True, kw_only=True):
    """A vote shown in this epoch; kept until the next epoch opens."""

    uids: tuple[Uid, ...]
    values: tuple[U16, ...]
    evidence: Hash32
    strata: tuple[StratumName, ...]
    members: tuple[Member, ...]
    rounds: tuple[RoundVote, ...]
    height: Natural
    """Height of its commitment."""


class Contribution(Entry, frozen=True, kw_only=True):
    """By uid: the update that a neuron bound itself to in this epoch's open block; kept until the next epoch opens."""

    cohort: Hash32
    epoch: Natural
    parameters: Hash32
    """Hash of those that the update begins at."""
    payload: Hash32
    place: Natural
    """Which of the network's contributions it is: of two that are nearly equal the earlier counts."""


class Accepted(Entry, frozen=True, kw_only=True):
    """An update that is part of a cohort's step. If its uid has changed hands since (`left`) it stays part of it, and
    earns nothing.
    """

    uid: Uid
    payload: Hash32
    left: bool = False


class Cohort(Entry, frozen=True, kw_only=True):
    """By name: the last round of a cohort that the validators agreed on. The next one begins at the parameters that
    the accepted updates lead to from these.

    `sums` are of the uids' positive values, decaying, in 10^-9 bits per byte; both lists ascend by uid.
    """

    epoch: Natural
    parameters: Hash32
    manifest: Hash32
    accepted: tuple[Accepted, ...]
    sums: tuple[UpdateValue, ...]


class CollectiveMember(Entry, frozen=True, kw_only=True):
    """A version in the collective, with its Q31 weight in each stratum."""

    uid: Uid
    manifest: Hash32
    weights: tuple[Q31Part, ...]


class Collective(Entry, frozen=True, kw_only=True):
    """The mixture of versions fixed by the last close block; in each stratum the weights sum to 2^31.

    The baseline is always a member.
    """

    strata: tuple[StratumName, ...]
    members: tuple[CollectiveMember, ...]


class FinalitySet(Entry, frozen=True, kw_only=True):
    """Whose votes make the blocks of an epoch final."""

    members: tuple[Weighted, ...]

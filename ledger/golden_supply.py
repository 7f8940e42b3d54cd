"""Golden cases of supply and membership: emission, its splits, the price of registration, who makes room, the calendar.

Invariants: wherever the ledger has the rule, the ledger's own function is what is run. Owners, root and the calendar of
blocks, which this ledger does not have, are computed around it as the reference's documentation says.
"""

from fractions import Fraction

from msgspec import Struct

from ledger.entries import Neuron
from ledger.epoch.emission import block_emission_rao
from ledger.epoch.fixed import split_largest_remainder
from ledger.golden_compare import Check, UnsupportedError, each, ratio, whole
from ledger.parameters import Parameters
from ledger.rules.membership import choose_replaced, compute_bumped_price, compute_decayed_price

U64 = 2**64 - 1


class Countdown(Struct):
    """A case of blocks_until_next_epoch."""

    tempo: int
    last_epoch_block: int
    block: int


class Price(Struct):
    """A case of burn_price."""

    burn: int
    half_life: int
    mult: Fraction
    min: int
    max: int
    ops: list[str]


class Candidate(Struct):
    """A neuron of prune."""

    uid: int
    emission: int
    registered_at: int
    immortal: bool = False


class Prune(Struct):
    """A case of prune."""

    neurons: list[Candidate]
    current_block: int
    immunity_period: int
    min_non_immune: int = 0


class Split(Struct):
    """A case of emission_split."""

    alpha_out: int
    owner_cut: Fraction = Fraction(0)
    root_proportion: Fraction = Fraction(0)


class Dividends(Struct):
    """A case of dividend_distribution: by hotkey its two stakes (alpha, root) and its dividends."""

    stake_map: dict[str, tuple[int, int]]
    dividends: dict[str, int]
    tao_weight: Fraction
    pending_validator_alpha: int
    pending_root_alpha: int


def compute_countdown(case: Countdown) -> int:
    """Blocks until the next epoch of a calendar in which one lasts `tempo` blocks; never, if that is 0."""
    return U64 if case.tempo == 0 else max(0, min(U64, case.last_epoch_block + case.tempo) - case.block)


def compute_prices(case: Price) -> list[int]:
    """The price of registration after each operation."""
    if case.half_life < 1:
        raise UnsupportedError("a price that never halves: registration_half_life is at least 1 here")
    parameters = Parameters(
        registration_half_life=case.half_life,
        registration_bump=ratio(case.mult),
        registration_price_min_rao=case.min,
        registration_price_max_rao=case.max,
    )
    price, prices = case.burn, []
    for operation in case.ops:
        if operation not in ("register", "block"):
            raise UnsupportedError(f"price operation {operation!r}")
        bumped = operation == "register"
        price = compute_bumped_price(price, parameters) if bumped else compute_decayed_price(price, 1, parameters)
        prices.append(price)
    return prices


def compute_replaced(case: Prune) -> int | None:
    """Who makes room. Where the reference takes an immune neuron, since too few others are left, this ledger refuses
    (`no_slot`): then the order among the immune is compared.
    """
    mortal = [neuron for neuron in case.neurons if not neuron.immortal]
    ages = {neuron.uid: case.current_block - neuron.registered_at for neuron in mortal}
    past = [neuron for neuron in mortal if ages[neuron.uid] >= case.immunity_period]
    enough = len(past) > case.min_non_immune
    candidates = past if enough else [neuron for neuron in mortal if neuron not in past]
    neurons = [_neuron(candidate) for candidate in candidates]
    replaced = choose_replaced(
        neurons, case.current_block, Parameters(tempo=1, immunity=case.immunity_period if enough else 0)
    )
    return None if replaced is None else replaced.uid


def compute_splits(case: Split) -> dict[str, int]:
    """The owner's part, then halves, of the validators' half root's part: largest remainders all the way."""
    owner, rest = split_largest_remainder(case.alpha_out, whole([case.owner_cut, 1 - case.owner_cut]))
    server, both = split_largest_remainder(rest, [1, 1])
    root, validator = split_largest_remainder(both, whole([case.root_proportion, 1 - case.root_proportion]))
    return {"owner": owner, "server": server, "validator": validator, "root": root}


def compute_distribution(case: Dividends) -> dict[str, int]:
    """What is paid in all: each sum is split by dividends times the part of the stake that it rewards."""
    alpha, root = [], []
    for hotkey, dividends in case.dividends.items():
        own, root_stake = case.stake_map.get(hotkey, (0, 0))
        weighed = root_stake * case.tao_weight
        alpha.append(dividends * own / (own + weighed) if own + weighed else Fraction(0))
        root.append(dividends * weighed / (own + weighed) if own + weighed else Fraction(0))
    return {
        "alpha": sum(split_largest_remainder(case.pending_validator_alpha, whole(alpha))),
        "root": sum(split_largest_remainder(case.pending_root_alpha, whole(root))),
    }


def _neuron(candidate: Candidate) -> Neuron:
    return Neuron(
        uid=candidate.uid,
        name="",
        hotkey=b"",
        coldkey=b"",
        registered_at=candidate.registered_at,
        registered_epoch=candidate.registered_at,
        last_update=0,
        revealed_epoch=0,
        permit=False,
        incentive_rao=candidate.emission,
    )


SUPPLY: dict[str, Check] = {
    "block_emission": each("issuance", "emission", int, block_emission_rao),
    "blocks_until_next_epoch": each("cases", "blocks", Countdown, compute_countdown),
    "burn_price": each("cases", "burns", Price, compute_prices),
    "prune": each("cases", "uid", Prune, compute_replaced),
    "emission_split": each("cases", "splits", Split, compute_splits),
    "dividend_distribution": each("cases", "totals", Dividends, compute_distribution),
}
"""By kind."""

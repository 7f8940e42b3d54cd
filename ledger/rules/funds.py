"""Balances and stake: transfer, add_stake, remove_stake, and the moves that other rules are made of.

Invariants: RAO only move, and every burn lowers issuance by as much; a hotkey's pool is owned by integer shares, so
that a payout costs the same for one staker and a million; buying and selling shares never takes RAO from the other
stakers, and whoever sells the last share takes all that is left.
"""

from msgspec.structs import replace

from ledger.entries import Account, Pool, Shares
from ledger.errors import Refusal
from ledger.extrinsics import AddStake, RemoveStake, Transfer
from ledger.state import State
from ledger.units import format_tao


def apply_transfer(state: State, signer: bytes, call: Transfer) -> None:
    """Move free balance. What the sender keeps below the existential deposit is burned."""
    if call.amount_rao == 0:
        raise Refusal("amount_too_small", "a transfer moves at least 1 RAO")
    validate_covers(state, signer, call.amount_rao)
    if call.to == signer:
        return
    validate_credit(state, call.to, call.amount_rao)
    debit(state, signer, call.amount_rao)
    credit(state, call.to, call.amount_rao)


def apply_add_stake(state: State, signer: bytes, call: AddStake) -> None:
    """Buy the shares that the amount pays for, at a price rounded up to a RAO; what doesn't make a whole share stays
    free.
    """
    validate_amount(state, call.amount_rao)
    if state.slots.get(call.hotkey) is None:
        raise Refusal("not_registered", "the hotkey to stake on has no uid")
    validate_covers(state, signer, call.amount_rao)
    pool = state.pool(call.hotkey)
    shares = call.amount_rao if pool is None else call.amount_rao * pool.shares // pool.total_rao
    if shares == 0:
        raise Refusal("amount_too_small", "the amount is below the price of one share of this pool")
    cost_rao = shares if pool is None else -(-shares * pool.total_rao // pool.shares)
    debit(state, signer, cost_rao)
    add_shares(state, call.hotkey, signer, shares, cost_rao)


def apply_remove_stake(state: State, signer: bytes, call: RemoveStake) -> None:
    """Sell the fewest shares that pay at least the amount."""
    validate_amount(state, call.amount_rao)
    worth_rao = state.stake_of(call.hotkey, signer)
    pool, owned = state.pool(call.hotkey), state.shares_of(call.hotkey, signer)
    if pool is None or worth_rao < call.amount_rao:
        raise Refusal(
            "insufficient_stake",
            f"the stake is worth {format_tao(worth_rao)} TAO, {format_tao(call.amount_rao)} TAO were asked for",
        )
    sold = -(-call.amount_rao * pool.shares // pool.total_rao)
    payout_rao = sold * pool.total_rao // pool.shares
    validate_credit(state, signer, payout_rao)
    _put_pool(state, call.hotkey, pool.total_rao - payout_rao, pool.shares - sold)
    _put_shares(state, call.hotkey, signer, owned - sold)
    credit(state, signer, payout_rao)


def validate_amount(state: State, amount_rao: int) -> None:
    """Refusal `amount_too_small` for stake moves below the existential deposit."""
    least = max(1, state.parameters.existential_rao)
    if amount_rao < least:
        raise Refusal("amount_too_small", f"stake moves by at least {least} RAO")


def validate_covers(state: State, public: bytes, amount_rao: int) -> None:
    """Refusal `insufficient_balance` unless the account's free balance covers the amount."""
    free_rao = state.account(public)
    if free_rao < amount_rao:
        raise Refusal(
            "insufficient_balance",
            f"the account holds {format_tao(free_rao)} TAO, {format_tao(amount_rao)} TAO are needed",
        )


def validate_credit(state: State, public: bytes, amount_rao: int) -> None:
    """Refusal `account_too_small` if the account would still be below the existential deposit."""
    least = state.parameters.existential_rao
    if state.account(public) + amount_rao < least:
        raise Refusal("account_too_small", f"an account holds at least {least} RAO")


def debit(state: State, public: bytes, amount_rao: int) -> None:
    """Take RAO from an account that covers them; an account left below the existential deposit is removed and its rest
    burned.
    """
    left_rao = state.account(public) - amount_rao
    if left_rao < 0:
        raise ValueError(f"debit of {amount_rao} RAO from an account that holds {left_rao + amount_rao}")
    if left_rao < max(1, state.parameters.existential_rao):
        state.accounts.put(public, None)
        record_burn(state, left_rao)
    else:
        state.accounts.put(public, Account(free_rao=left_rao))


def credit(state: State, public: bytes, amount_rao: int) -> None:
    """Give RAO to an account."""
    state.accounts.put(public, Account(free_rao=state.account(public) + amount_rao))


def record_burn(state: State, amount_rao: int) -> None:
    """Lower issuance by RAO that were taken and given to nobody."""
    scalars = state.globals
    state.scalars.put(
        b"",
        replace(scalars, issuance_rao=scalars.issuance_rao - amount_rao, burned_rao=scalars.burned_rao + amount_rao),
    )


def raise_pool(state: State, hotkey: bytes, amount_rao: int) -> None:
    """Pay RAO to all owners of a pool that has some, in proportion to their shares."""
    pool = state.pool(hotkey)
    if pool is None:
        raise ValueError(f"the pool of {hotkey.hex()} has no owners to pay")
    _put_pool(state, hotkey, pool.total_rao + amount_rao, pool.shares)


def pay_into_pool(state: State, hotkey: bytes, coldkey: bytes, amount_rao: int) -> None:
    """Pay RAO to one coldkey as shares of a pool; what doesn't make a whole share raises the pool."""
    pool = state.pool(hotkey)
    shares = amount_rao if pool is None else amount_rao * pool.shares // pool.total_rao
    if amount_rao:
        add_shares(state, hotkey, coldkey, shares, amount_rao)


def add_shares(state: State, hotkey: bytes, coldkey: bytes, shares: int, amount_rao: int) -> None:
    """Add RAO to a pool against new shares for the coldkey."""
    pool = state.pool(hotkey)
    total_rao, total_shares = (0, 0) if pool is None else (pool.total_rao, pool.shares)
    _put_pool(state, hotkey, total_rao + amount_rao, total_shares + shares)
    _put_shares(state, hotkey, coldkey, state.shares_of(hotkey, coldkey) + shares)


def _put_pool(state: State, hotkey: bytes, total_rao: int, shares: int) -> None:
    state.pools.put(state.origin(hotkey), Pool(total_rao=total_rao, shares=shares) if shares else None)


def _put_shares(state: State, hotkey: bytes, coldkey: bytes, shares: int) -> None:
    state.shares.put(state.origin(hotkey) + coldkey, Shares(shares=shares) if shares else None)

"""The ledger: signed extrinsics in, money and consensus out, in whole numbers.

Invariants of the room: no float touches a balance, a payout or a consensus; what is in the blocks is enough to derive
everything else bit for bit; at every block issuance = free balances + pools = genesis + minted - burned; a refused
extrinsic changes nothing. It knows neither Ray nor torch nor models.
"""

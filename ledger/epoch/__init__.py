"""What closes an epoch: consensus on the revealed votes, bonds, and the split of what is minted.

Invariants:
* Integers only, so that every machine derives the same bits.
* Deltas are computed purely, then applied in one place: `close`.
"""

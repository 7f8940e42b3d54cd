"""The network's HTTP server, and the door to a network behind one.

Invariants: asyncio lives here alone; nothing that changes the ledger comes in but signed extrinsics, and nothing is
uploaded but under a key's signature; whatever a stranger can make grow has a bound.
"""

"""An epoch of thousands of peers in one process: the network's own plans, dispatcher, votes, consensus and ledger
under a virtual clock.

Invariants: what decides or writes is the product's code; only time, models and other machines are simulated, and what
is left out is said in docs/scale.md.
"""

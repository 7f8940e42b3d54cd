"""The actors of a network: hosts answer and train, validators value and vote, the keeper writes the ledger.

Invariants:
* an actor is a plain class that can be built and tested without Ray; `seam` is the one file that wraps it;
* what decides (`dispatch`, `rows`) owns no clock, no handle and no thread;
* what crosses between actors is signed (`wire`), and is checked by whoever uses it.
"""

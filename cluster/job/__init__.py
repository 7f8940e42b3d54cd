"""Jobs: a network that runs on a Ray cluster elsewhere, launched, watched and stopped through Ray's job API.

Invariants: at most one job a network runs at a time; what is sent is code and one configuration, chosen by name, so
that no wallet, ledger or model can be among it; each call has a deadline, and each mistake one sentence.
"""

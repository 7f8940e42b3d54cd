"""`taoray doctor`: whether a machine, a home and a cluster can run a network, and what to mend.

Invariants: each check looks at one thing, changes nothing but files of its own that it takes away again, ends in
bounded time, and says in one sentence what it saw and, where that is not well, in another what to do.
"""

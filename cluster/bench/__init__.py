"""What `taoray bench` measures beyond one process, and how it is asked and told.

Invariants: what is measured is the product's own path, never a copy of it; both sides of a comparison run in turns in
one session; nothing is measured before it has run once.
"""

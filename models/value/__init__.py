"""Value: how many bits each model version adds to what the collective already knew, and what that earns.

Invariants: everything is in bits per byte of held-out text; every weight is fitted on one fold of documents and used on
the other; information is credited once; from values to votes all arithmetic is in integers. Nothing here imports torch.
"""

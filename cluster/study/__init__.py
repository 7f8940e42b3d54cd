"""Studies: what a person asks about models without a network. Here: their value as one collective.

Invariants: a study reads models and text, and writes into its own work folder only; what decides is pure, and Ray only
carries it out.
"""

"""What lets others check the ledger without trusting it: Merkle roots, the authenticated state map, votes and finality."""

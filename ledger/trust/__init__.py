"""What lets others check the ledger: Merkle roots, the authenticated state map, votes and finality."""

"""The merge queue: one step a turn, state from ledger and refs."""

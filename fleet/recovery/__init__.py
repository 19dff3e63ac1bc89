"""The ledger found damaged, lost or out of date, and brought back from git."""

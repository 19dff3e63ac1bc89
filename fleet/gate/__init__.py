"""Proof that a merge result is good: checks, comparison with the base, verdict."""

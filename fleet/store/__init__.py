"""What is on disk: layout, database, task files, profiles, claims, ledger."""

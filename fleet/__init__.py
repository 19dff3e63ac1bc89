"""fleet: many coding agents on one repository, and only proven work lands."""

__version__ = "0.1.0"

"""All model traffic of a fleet, through one process.

It knows who asks, answers equal requests once, meters what passes, and is the only place where
real keys are.
"""

"""Commands: parse, call, render. No logic."""

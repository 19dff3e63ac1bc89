"""The wire formats agents speak. Pure: bytes in, values out."""

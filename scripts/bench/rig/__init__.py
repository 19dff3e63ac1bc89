"""What the benchmarks of the proxy share: an upstream, a load, lanes, and how to read a process.

None of it is made of fleet's own HTTP code, so that the rig cannot share a fault with what it
measures.
"""

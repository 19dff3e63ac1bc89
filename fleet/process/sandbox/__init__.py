"""Walls around a program: what it sees of files, processes and the network, and what it does not.

Two rungs. Bubblewrap gives it a world of its own: namespaces for mounts, processes and the
network, with its workspace always at the same place. Landlock, where that cannot be had, forbids
in the world we all share: files outside its own, and every TCP port but the proxy's.
"""

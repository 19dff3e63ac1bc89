"""One agent at a time: claim, workspace, prompt, agent, gate, submit.

Plain synchronous code in a process of its own; `python -m fleet.worker` starts one.
"""

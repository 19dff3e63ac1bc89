"""One agent at a time: claim, workspace, prompt, agent, gate, submit."""

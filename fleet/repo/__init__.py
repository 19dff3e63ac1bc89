"""Git: the hub, workspaces, harvest, merges, and moving the branch by compare-and-swap."""

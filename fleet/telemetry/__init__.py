"""How a fleet is watched: operators' logs."""

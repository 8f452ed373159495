"""Real nodes, real faults, and checks of what clients saw meanwhile."""

"""Collections out of one set of leaves and into another: an archive's format, its writing and its reading."""

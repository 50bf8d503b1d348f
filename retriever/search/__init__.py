"""Search legs and the catalogue, one module per engine."""

"""Keeps collections in order while they are used: checks, repairs, rebuilds, sweeps. No wire, no store."""

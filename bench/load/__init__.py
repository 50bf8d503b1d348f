"""Open-loop load on a running mesh: asks arrive when they arrive, whether or not earlier ones were answered."""

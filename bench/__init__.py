"""Latencies and throughput beside the floors of the machine."""

"""How far the mesh scales: what one retriever carries, and what the autoscaler makes of that under a ramp."""

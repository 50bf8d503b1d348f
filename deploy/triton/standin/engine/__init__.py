"""A language model's stand-in for Triton's Python backend; runs in the backend's stub with NumPy and nothing else."""

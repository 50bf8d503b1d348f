"""The orchestrator: a question in, a cited answer out."""

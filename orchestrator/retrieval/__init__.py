"""How the orchestrator reaches a retriever."""

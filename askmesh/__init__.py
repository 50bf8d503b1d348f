"""askmesh: answers from your own documents, with citations you can check."""

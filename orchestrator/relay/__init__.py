"""Single flight over replicas: one of them makes the answer, the others relay it."""

"""A cache behind a timebox and a circuit breaker: while it is down an ask costs nothing but the answer's making.

Decorates any AnswerCache. Every failure leaves as CacheUnavailable, which the pipeline takes for a miss.
"""

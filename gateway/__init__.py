"""The REST gateway: HTTP and SSE in front of the gRPC services, and the page."""

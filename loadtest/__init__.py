"""What callers do to the service, over HTTP only: load, and its limits."""

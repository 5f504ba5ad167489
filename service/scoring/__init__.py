"""Batch scoring: a labelled set through the same pipeline as requests, in jobs that survive their server."""

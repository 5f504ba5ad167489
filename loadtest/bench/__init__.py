"""Measures Parallax on this machine, next to the in-process limit, a tutorial's server and the floor of HTTP itself."""

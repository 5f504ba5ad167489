"""`parallax score`: batch scoring from the command line, in this process or against a server."""

"""What `make` and the people who work on Parallax run; no part of the product."""

"""What training and service share: a model's contract, the images it reads, and how it is judged."""

__version__ = "0.1.0"
"""Of the whole distribution: here, because every room may import models."""

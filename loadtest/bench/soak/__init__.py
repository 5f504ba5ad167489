"""The soak: load for half an hour while everything goes wrong that may, and what came of it."""

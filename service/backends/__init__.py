"""What can answer: a model of the store, a service elsewhere, a stand-in."""

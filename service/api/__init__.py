"""HTTP: the only room, beside `app.py`, that knows FastAPI."""

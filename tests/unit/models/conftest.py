from hypothesis import settings

# A test on a busy machine may be slow; that is no fault of the code.
settings.register_profile("parallax", deadline=None)
settings.load_profile("parallax")

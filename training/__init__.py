"""How models come to be: data, networks, fitting, export. The only room that knows TensorFlow."""

import os

# TensorFlow reads it once, when it is loaded. 2 leaves its errors, and drops what it says of the processor and of missing GPUs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

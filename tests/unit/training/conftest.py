import os

# TensorFlow reads these once, when it is loaded.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# MLflow takes seconds to load: only the tests of tracking switch it on.
os.environ["PARALLAX_TRACK"] = "off"

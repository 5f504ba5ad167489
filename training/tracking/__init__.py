"""What MLflow is told of a training run, and how a model comes back from its registry."""

"""`parallax train automl`: a search on Optuna that ranks settings on cached features and fine-tunes what comes out first."""

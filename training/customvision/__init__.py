"""Azure Custom Vision: filling a project, training it, publishing it, scoring it, and taking home what it learnt."""

"""What training and service share: a model's contract, the images it reads, and how it is judged."""

"""What command lines are made of, and the commands that are no paper's experiment."""

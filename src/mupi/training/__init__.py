"""What a training run leaves on disk: whole files, one writer at a time, and nothing read that is damaged."""

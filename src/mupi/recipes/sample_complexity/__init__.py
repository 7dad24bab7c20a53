"""Tasks in which there is something to find, and how many samples it takes to find it."""

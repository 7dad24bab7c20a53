"""A user's own data: files of tables, arrays and images, as inputs and targets of a network."""

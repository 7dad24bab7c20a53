"""`mupi train`: one network, from its options to its run folder."""

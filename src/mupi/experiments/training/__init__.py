"""Training one network: its configuration, its loop, its saved run."""

"""The papers' experiments, each with its configuration and figures; nothing imports them."""

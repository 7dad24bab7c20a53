"""Transfer: networks pretrained on one data set, and what their features are worth on another."""

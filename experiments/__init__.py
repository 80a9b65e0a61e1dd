"""The science: competition data, folds, metrics, registry, correlation, blends and rules."""

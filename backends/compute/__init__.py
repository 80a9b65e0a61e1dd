"""Worker slots: where the folds of an experiment run."""

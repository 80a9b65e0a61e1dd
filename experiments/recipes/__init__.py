"""Experiment recipes of the playbook: one file here is one more recipe."""

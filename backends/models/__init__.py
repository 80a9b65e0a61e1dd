"""Language-model backends: the offline playbook now, LiteLLM by the same contract."""

"""Any model that LiteLLM reaches."""

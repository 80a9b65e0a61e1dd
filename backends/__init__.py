"""What can be swapped: language models, competition platforms, compute."""

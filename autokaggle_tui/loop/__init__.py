"""The round loop: phases in order, the run of an experiment, champion and submission decisions."""

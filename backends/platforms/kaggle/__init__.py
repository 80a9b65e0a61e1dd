"""Kaggle, through its official client: the only package that imports it.

``client.KaggleClient.open()`` finds the credentials and loads the client; ``source.KaggleSource(client)``,
``platform.KagglePlatform(slug, client)`` and ``research.KaggleResearch(slug, client)`` are what the program uses.
``credentials.find_credentials()`` says which credentials those would be, without the network and without the client.
"""

"""The client verbs of the command line; `cli.py` imports each when it is asked for."""

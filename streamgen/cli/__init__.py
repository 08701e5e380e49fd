"""The command line: ``app`` picks a command; each command is a module with ``add_arguments`` and ``run``."""

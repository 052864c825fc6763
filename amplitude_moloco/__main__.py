"""``python -m amplitude_moloco``: the command line, where its script is not on the path."""

from amplitude_moloco.cli.app import main

main()

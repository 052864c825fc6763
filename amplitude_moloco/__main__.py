"""``python -m amplitude_moloco``: the command line, for when its script is not on the path."""

from amplitude_moloco.cli import main

main()

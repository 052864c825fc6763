"""The command line. Needs the extra ``cli``; the only part of the library that prints."""

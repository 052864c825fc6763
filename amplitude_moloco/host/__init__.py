"""The process that the library runs in: the SDK's private parts, exit and fork."""

"""The live page: what it shows, how it is fed, and the server around it. Knows no partner's API.

The sandbox and a running app share it. It imports nothing of the library, so that the sandbox stays
independent. All but ``guard`` and ``lines`` need the extra ``sandbox``.
"""

"""A small shop on Django. What shoppers do reaches Amplitude and Moloco Commerce Media.

``tracking.py`` is what you copy, with its line in the settings' ``MIDDLEWARE``.
"""

"""A stand-in for a mobile measurement partner (MMP): it attributes installs, and posts back.

Its rules are Adjust's, as far as they are documented. It records clicks and views from tracking
links, installs, sessions and events, attributes them, and sends postbacks to the partners.
"""

"""The two systems on which MCM knows apps, and the names by which devices call them. Pure."""

from __future__ import annotations

# Words in the names of systems and platforms, and which of MCM's two they are.
_MEANS = {
    **dict.fromkeys(
        ("ipad", "iphone", "ipod", "tvos", "apple tv", "appletv", "watchos", "visionos", "xros"),
        "iOS",
    ),
    **dict.fromkeys(
        ("android", "fireos", "fire os", "fire tv", "google tv", "wearos", "wear os"), "Android"
    ),
}


def app_os(name: str) -> str | None:
    """Returns iOS or Android for the name of one of their systems; None for any other.

    A Mac's is neither: MCM has no word for it.
    """
    name = name.strip().lower()
    if name == "ios" or name.startswith("ios "):
        return "iOS"
    return next((known for word, known in _MEANS.items() if word in name), None)

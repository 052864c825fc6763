"""How settings look as plain data, such as a JSON or TOML file. Needs the extra ``config``.

``syncs = "ecommerce"`` stands for the ready-made syncs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.files.environment import unset_variables
from amplitude_moloco.files.loading import Shape, owner_of
from amplitude_moloco.files.schema import Keys
from amplitude_moloco.moloco.chart import MOLOCO_FIELDS
from amplitude_moloco.moloco.checks import deliver_of
from amplitude_moloco.moloco.ecommerce import ecommerce_syncs
from amplitude_moloco.moloco.sync import Sync

READY_SYNCS = "ecommerce"
"""What stands for the ready-made syncs."""


def _without_needless_key(
    settings: Mapping[str, Any], more: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Returns the settings without a key that is not set here, if another process needs it alone.

    So apps that store events, and the relay that sends them, can share a file.
    """
    try:
        is_needed = deliver_of(more.get("deliver", settings.get("deliver")))
    except ConfigurationError:  # it is told with the other mistakes
        return settings
    if is_needed or not any(unset_variables(settings.get("api_key"), os.environ)):
        return settings
    return {name: value for name, value in settings.items() if name != "api_key"}


def _strays_in_mappings(settings: Mapping[str, Any], keys: Keys) -> Iterator[str]:
    """Yields a text for each setting that landed in the mapping of a sync."""
    syncs = settings.get("syncs")
    for index, sync in enumerate(syncs if isinstance(syncs, list) else ()):
        mapping = sync.get("mapping") if isinstance(sync, Mapping) else None
        for key in mapping if isinstance(mapping, Mapping) else ():
            owner = owner_of(key, "mapping", keys, SHAPE)
            if owner and key not in MOLOCO_FIELDS:
                yield f"syncs[{index}].mapping.{key}: a setting, not a Moloco field{owner}"


SHAPE = Shape(
    name="syncs",
    part=Sync,
    required=("platform_id", "syncs"),
    owner="to a sync: in TOML, write it under [[syncs]], before [syncs.mapping]",
    list_advice=f"use a list of syncs (in TOML, [[syncs]]), or {READY_SYNCS!r} for the ready ones",
    # Then the rest of the address may come from elsewhere, too.
    goes_with={"platform_id": ("api_key", "platform_name")},
    ready={READY_SYNCS: ecommerce_syncs},
    strays=_strays_in_mappings,
    prepare=_without_needless_key,
)

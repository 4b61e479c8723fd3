"""Digests, which name artifacts: hashes of everything that is meant to change a result.

The preimage of a digest is a small JSON document. It has the kind of a step and the
version of its meaning, the settings that differ from their defaults under their names in
a spec, the seed, and the digests of the steps that this step needs. Settings at their
default are left out, so that a new setting changes no digest.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ddspec.dsl.key_path import dotted, leaves

Json = dict[str, Any]
DIGEST = r"^[0-9a-f]{32}$"
"""Pattern of a digest, which one from outside must match to become a file name."""
Preimage = Mapping[str, Any]


def canonical(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(value: Any) -> str:
    """Return the first 128 bits of SHA-256 of the canonical JSON, as 32 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Difference:
    """One key in which two preimages differ; a value of None is the default."""

    key: str
    old: Any
    new: Any


def differences(
    new: Preimage, old: Preimage, find: Callable[[str], Preimage | None]
) -> list[Difference]:
    """Return the keys in which two preimages and the preimages that they need differ.

    `find` returns the preimage of a digest, or None if it is unknown. Digests whose
    preimages are unknown are compared by their first eight digits.
    """
    by_key = {difference.key: difference for difference in flat_differences(new, old)}
    for role, needed in new.get("needs", {}).items():
        needed_before = old.get("needs", {}).get(role)
        if needed == needed_before:
            continue
        if needed_before is None:
            continue  # The key that asks for this step differs, and that is reported.
        inner_new, inner_old = find(needed), find(needed_before)
        if inner_new is None or inner_old is None:
            by_key[role] = Difference(role, needed_before[:8], needed[:8])
        else:
            by_key |= {d.key: d for d in differences(inner_new, inner_old, find)}
    return list(by_key.values())


def flat_differences(new: Preimage, old: Preimage) -> Iterator[Difference]:
    """Yield the keys in which two preimages differ, without the steps they need."""
    after, before = settings_by_key(new), settings_by_key(old)
    for key in dict.fromkeys([*after, *before]):
        if after.get(key) != before.get(key):
            yield Difference(key, before.get(key), after.get(key))


def settings_by_key(preimage: Preimage) -> Json:
    """Return the settings of a preimage by dotted key, without `needs`."""
    other_fields = {k: v for k, v in preimage.items() if k not in ("settings", "needs")}
    return {
        dotted(path): value
        for table in (preimage.get("settings", {}), other_fields)
        for path, value in leaves(table, empty_tables=True)
        if path
    }

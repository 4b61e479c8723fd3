"""Names of artifacts: the hash of everything that can change a result by intention.

The pre-image of a digest is a small JSON document: kind of step and version of its meaning, the
settings that differ from their defaults under the names they have in a spec, the seed, and the
digests of what the step needs. Options at their default are left out, so that a new option
renames no artifact.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ddspec.dsl.key_path import dotted, leaves

Json = dict[str, Any]
DIGEST = r"^[0-9a-f]{32}$"
"""What every digest looks like; where one comes from a stranger, it may become a file's name."""
Preimage = Mapping[str, Any]


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(value: Any) -> str:
    """The first 128 bits of SHA-256 of the canonical JSON, as 32 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Difference:
    """One key in which two pre-images differ; None where it stands at its default."""

    key: str
    old: Any
    new: Any


def differences(
    new: Preimage, old: Preimage, find: Callable[[str], Preimage | None]
) -> list[Difference]:
    """What changed between two pre-images, followed into what they need.

    `find` returns the pre-image behind a digest, None where it is not known.
    """
    found = list(flat_differences(new, old))
    for role, needed in new.get("needs", {}).items():
        before = old.get("needs", {}).get(role)
        if needed == before:
            continue
        if before is None:
            continue  # Another kind of step is needed, and the key that asks for it differs.
        inner_new, inner_old = find(needed), find(before)
        if inner_new is None or inner_old is None:
            found.append(Difference(role, before[:8], needed[:8]))
        else:
            found += differences(inner_new, inner_old, find)
    return list({difference.key: difference for difference in found}.values())


def flat_differences(new: Preimage, old: Preimage) -> Iterator[Difference]:
    """Keys in which two pre-images differ themselves, under their names in the spec."""
    left, right = settings_by_key(new), settings_by_key(old)
    for key in dict.fromkeys([*left, *right]):
        if left.get(key) != right.get(key):
            yield Difference(key, right.get(key), left.get(key))


def settings_by_key(preimage: Preimage) -> Json:
    """Return the settings of a pre-image by dotted key, without the digests that it needs."""
    outside = {k: v for k, v in preimage.items() if k not in ("settings", "needs")}
    return {
        dotted(path): value
        for table in (preimage.get("settings", {}), outside)
        for path, value in leaves(table, empty_tables=True)
        if path
    }

"""Plans of earlier versions, in the form of this one."""

from typing import Any

from ddspec.dsl.digest import digest


def with_needs(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a plan, as read from JSON, whose steps name the steps that they need.

    A step of ddspec 0.1.0 names them by digest in its preimage alone. A trajectory step trains
    experts that have no step; what they need is the dataset. A distillation of no iterations needs
    no experts, although its preimage names them.
    """
    steps = plan.get("steps")
    if not isinstance(steps, list | tuple) or not all(isinstance(step, dict) for step in steps):
        return plan
    if all("needs" in step for step in steps):
        return plan
    ids = {d: step.get("id") for step in steps if isinstance(d := step.get("digest"), str)}
    for step in steps:
        recipe = step.get("recipe")
        if isinstance(recipe, dict) and isinstance(recipe.get("preimage"), dict):
            ids.setdefault(digest(recipe["preimage"]), step.get("id"))

    def needs(step: dict[str, Any]) -> list[Any]:
        preimage, matching = step.get("preimage"), step.get("matching")
        named = preimage.get("needs") if isinstance(preimage, dict) else None
        digests = named if isinstance(named, dict) else {}
        if isinstance(matching, dict) and matching.get("iterations") == 0:
            digests = {"initialise": digests.get("initialise")}
        known = [ids[name] for name in digests.values() if isinstance(name, str) and name in ids]
        return ["dataset" if id == step.get("id") else id for id in known]

    return {**plan, "steps": [{"needs": needs(step), **step} for step in steps]}

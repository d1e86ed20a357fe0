"""The JSON that `nix path-info --json` and `nix derivation show` print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anicca.store.derivation import Derivation
    from anicca.store.info import PathInfo
    from anicca.store.path import StorePath


def path_info_json(info: PathInfo, *, closure_size: int | None = None) -> dict[str, Any]:
    """One object as Nix 2.26 shows it, without its path, which is the key."""
    shown: dict[str, Any] = {
        "ca": info.content_address,
        "deriver": None if info.deriver is None else str(info.deriver),
        "narHash": info.nar_hash.sri,
        "narSize": info.nar_size,
        "references": sorted(map(str, info.references)),
        "registrationTime": info.registration_time,
        "signatures": list(info.signatures),
        "ultimate": info.ultimate,
    }
    if closure_size is not None:
        shown["closureSize"] = closure_size
    return shown


def path_infos_json(infos: Mapping[StorePath, PathInfo]) -> dict[str, Any]:
    """Objects by path, as `nix path-info --json` of Nix 2.26."""
    return {str(path): path_info_json(info) for path, info in sorted(infos.items())}


def derivation_json(drv: Derivation) -> dict[str, Any]:
    """A derivation as `nix derivation show` of Nix 2.26, without its path, which is the key."""
    outputs = {}
    for name, output in sorted(drv.outputs.items()):
        shown = {"path": output.path}
        fixed = output.fixed
        if fixed is not None:
            shown["hash"] = output.hash_hex
            shown["hashAlgo"] = fixed[1].algorithm
            shown["method"] = "nar" if fixed[0] else "flat"
        outputs[name] = shown
    return {
        "args": list(drv.args),
        "builder": drv.builder,
        "env": dict(sorted(drv.env.items())),
        "inputDrvs": {
            str(path): {"dynamicOutputs": {}, "outputs": sorted(names)}
            for path, names in sorted(drv.input_derivations.items())
        },
        "inputSrcs": sorted(map(str, drv.input_sources)),
        "name": drv.name,
        "outputs": outputs,
        "system": drv.system,
    }

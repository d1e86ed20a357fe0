"""The guard as it is written out for other initrds: shellcheck has nothing to say, real Nix evaluates the module."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from anicca import process
from anicca.errors import UsageError
from anicca.roots.export.write import KINDS, export
from anicca.roots.guard.files import MODULE_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

# As much of nixpkgs as the module asks for: its library's words, and packages that are but paths.
NIX = """
let
  lib = {
    removePrefix = prefix: text:
      let size = builtins.stringLength prefix; in
      if builtins.substring 0 size text == prefix then builtins.substring size (-1) text else text;
    optional = yes: item: if yes then [ item ] else [ ];
    inherit (builtins) concatStringsSep;
    getBin = package: package;
    mkEnableOption = _: null;
    mkOption = option: option;
    mkIf = yes: config: if yes then config else { };
    types = { str = null; listOf = _: null; enum = _: null; };
  };
  names = [ "btrfs-progs" "busybox" "e2fsprogs" "f2fs-tools" "kmod" "util-linux" "xfsprogs" ];
  pkgs = builtins.listToAttrs (map (name: { inherit name; value = "/${name}"; }) names);
  defaults = builtins.mapAttrs (_: option: option.default or null) module.options.anicca.guard;
  config.anicca.guard = defaults // builtins.fromJSON (builtins.readFile ./host.json);
  module = import ./anicca-guard { inherit config lib pkgs; };
in
module.config
"""


@pytest.mark.parametrize("kind", KINDS)
def test_shellcheck_has_nothing_to_say(kind: str, tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    written = export(kind, tmp_path)
    scripts = [path for path in written if path.read_bytes()[:2] == b"#!"]
    assert {path.name for path in scripts} >= {"guard.sh"}
    for script in scripts:
        process.run(["shellcheck", "--external-sources", f"--source-path={MODULE_DIRECTORY}", script])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_guard(kind: str, tmp_path: Path) -> None:
    written = {path.name: path for path in export(kind, tmp_path)}
    for source in MODULE_DIRECTORY.iterdir():
        if source.name in written and source.name != "module-setup.sh":
            assert written[source.name].read_bytes() == source.read_bytes()
            assert (written[source.name].stat().st_mode ^ source.stat().st_mode) & 0o111 == 0
    assert {"guard.sh", "common.sh", "backend_f2fs.sh"} <= written.keys()


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="not empty"):
        export("dracut", tmp_path)


def evaluate(directory: Path, **host: Any) -> Any:
    """What real Nix makes of the module for a host."""
    if shutil.which("nix-instantiate") is None:
        pytest.skip("nix is not installed")
    export("nixos", directory / "anicca-guard")
    (directory / "host.json").write_text(json.dumps({"enable": True, "device": "PARTUUID=1", **host}))
    (directory / "default.nix").write_text(NIX)
    state = {
        f"NIX_{name}_DIR": str(directory / name.lower()) for name in ("STORE", "STATE", "LOG", "CONF", "LOCALSTATE")
    }
    said = process.run(
        ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", directory / "default.nix"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), **state},
    )
    return json.loads(said.text)


def test_nix_evaluates_the_module(tmp_path: Path) -> None:
    seen = evaluate(tmp_path, mountOptions=["lazytime", "compress_algorithm=zstd"], mkfsOptions=["-O", "extra_attr"])
    assert seen["boot"]["kernelParams"] == [
        "anicca.root=PARTUUID=1",
        "anicca.backend=f2fs",
        "anicca.rootopts=lazytime,compress_algorithm=zstd",
        "anicca.mkfs=-O,extra_attr",
    ]
    assert seen["fileSystems"]["/"] == {
        "device": "none",
        "fsType": "f2fs",
        "noCheck": True,
        "options": ["checkpoint=disable", "lazytime", "compress_algorithm=zstd"],
    }
    stage1 = seen["boot"]["initrd"]["systemd"]
    unit = stage1["units"]["anicca-guard.service"]
    assert unit["text"] == (MODULE_DIRECTORY / "anicca-guard.service").read_text()
    assert "Before=sysroot.mount " in unit["text"]
    assert unit["wantedBy"] == ["initrd-root-fs.target"]
    assert "/f2fs-tools" in stage1["initrdBin"]
    for name in ("guard.sh", "common.sh", "backend_f2fs.sh"):
        assert f"/usr/lib/anicca/{name}" in stage1["contents"]


def test_nix_evaluates_other_roots(tmp_path: Path) -> None:
    afresh = evaluate(tmp_path / "afresh", backend="afresh:xfs")
    assert (afresh["fileSystems"]["/"]["fsType"], afresh["fileSystems"]["/"]["options"]) == ("xfs", [])
    memory = evaluate(tmp_path / "memory", backend="tmpfs")
    assert memory["boot"]["initrd"]["availableKernelModules"] == []
    assert evaluate(tmp_path / "btrfs", backend="btrfs")["fileSystems"]["/"]["options"] == ["subvol=root"]

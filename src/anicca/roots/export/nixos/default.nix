# anicca's guard in NixOS's systemd stage 1: the root is blank at every boot, whatever was done to its filesystem.
# The unit and the scripts beside this file are those of anicca's own initrd. /nix must be a volume of its own.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.anicca.guard;
  kind = lib.removePrefix "afresh:" cfg.backend;
  tools = {
    btrfs = [ pkgs.btrfs-progs ];
    ext4 = [ pkgs.e2fsprogs ];
    f2fs = [ pkgs.f2fs-tools ];
    tmpfs = [ ];
    xfs = [ pkgs.xfsprogs ];
  };
  # What keeps the promise stands in fstab too: whatever mounts the root again keeps it.
  promises = {
    btrfs = [ "subvol=root" ];
    f2fs = [ "checkpoint=disable" ];
  };
  promise = if kind == cfg.backend then promises.${kind} or [ ] else [ ];
  script = name: {
    name = "/usr/lib/anicca/${name}";
    value.source = ./scripts + "/${name}";
  };
in
{
  options.anicca.guard = {
    enable = lib.mkEnableOption "a root that is blank at every boot";
    device = lib.mkOption {
      type = lib.types.str;
      example = "PARTUUID=00000000-0000-0000-0000-000000000000";
      description = ''
        The volume of the root: PARTUUID=, UUID= or a path under /dev. The partition must be named `anicca-root` or
        `root`, a logical volume must carry the label `anicca-root`: others are never made afresh.
      '';
    };
    backend = lib.mkOption {
      type = lib.types.enum [
        "f2fs"
        "btrfs"
        "tmpfs"
        "afresh:btrfs"
        "afresh:ext4"
        "afresh:f2fs"
        "afresh:xfs"
      ];
      default = "f2fs";
      description = "How the root forgets.";
    };
    mountOptions = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "compress_algorithm=zstd" ];
      description = "What else to mount it with. What keeps the promise is added.";
    };
    mkfsOptions = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [
        "-O"
        "extra_attr,compression"
      ];
      description = "What to make it with, when it has to be made afresh.";
    };
  };

  config = lib.mkIf cfg.enable {
    boot.kernelParams =
      [
        "anicca.root=${cfg.device}"
        "anicca.backend=${cfg.backend}"
      ]
      ++ lib.optional (cfg.mountOptions != [ ]) "anicca.rootopts=${lib.concatStringsSep "," cfg.mountOptions}"
      ++ lib.optional (cfg.mkfsOptions != [ ]) "anicca.mkfs=${lib.concatStringsSep "," cfg.mkfsOptions}";

    # No device here, as systemd would wait for it where the guard has fallen back to memory long since; no check, as
    # fsck calls such roots broken.
    fileSystems."/" = {
      device = "none";
      fsType = kind;
      options = promise ++ cfg.mountOptions;
      noCheck = true;
    };

    boot.initrd = {
      availableKernelModules = lib.optional (kind != "tmpfs") kind;
      systemd = {
        enable = true;
        initrdBin = [ pkgs.busybox ] ++ tools.${kind};
        extraBin.blkid = "${lib.getBin pkgs.util-linux}/bin/blkid";
        contents =
          builtins.listToAttrs (map script (builtins.attrNames (builtins.readDir ./scripts)))
          // {
            "/usr/bin/busybox".source = "${pkgs.busybox}/bin/busybox";
            "/usr/sbin/blkdiscard".source = "${lib.getBin pkgs.util-linux}/bin/blkdiscard";
            "/usr/sbin/modprobe".source = "${pkgs.kmod}/bin/modprobe";
          };
        units."anicca-guard.service" = {
          text = builtins.readFile ./anicca-guard.service;
          wantedBy = [ "initrd-root-fs.target" ];
        };
      };
    };
  };
}

#!/bin/bash
# The whole initrd of an anicca host: systemd, udev, the drivers of disks and filesystems, our scripts; nothing of
# the machine it is made on. Used alone (`dracut --module "anicca"`), it replaces dracut-systemd, base and their
# hooks: docs/internals/boot.md says why.
# shellcheck disable=SC2154 # dracut sets its variables

check() {
    require_binaries busybox mkfs.f2fs e2fsck mount udevadm tar b2sum || return 1
    return 255
}

depends() {
    echo systemd dash
}

installkernel() {
    # What carries disks: virtual machines, then hardware.
    hostonly='' instmods virtio_blk virtio_scsi virtio_pci virtio_rng virtio_console qemu_fw_cfg \
        xen-blkfront hv_storvsc hv_vmbus vmw_pvscsi \
        nvme ahci ata_piix ata_generic sd_mod sr_mod usb-storage uas xhci-pci ehci-pci uhci_hcd ohci-pci \
        mmc_block sdhci-pci sdhci-acpi megaraid_sas mpt3sas mptsas mptspi hpsa aacraid smartpqi vmd \
        usbhid hid-generic
    # Filesystems and what they are stacked on; checksums are asked for by name, which no module dependency tells.
    hostonly='' instmods f2fs ext4 btrfs xfs nilfs2 vfat nls_ascii nls_cp437 erofs overlay loop \
        dm-mod dm-crypt raid0 raid1 raid456 \
        crc32c crc32c-intel crc32 crc32-pclmul crc32c_generic libcrc32c autofs4 dmi-sysfs
    # Of no Debian kernel, but built for hosts with such a root.
    if modinfo -k "$kernel" zfs &> /dev/null; then
        hostonly='' instmods zfs
    fi
    # Modules load faster from one compressed archive than each from its own.
    if [[ -n $(type -P xz) ]]; then
        find "$initdir/usr/lib/modules/" -name '*.ko.xz' -exec xz --decompress --force {} +
    fi
}

install() {
    local name
    # udev, with just the rules that find disks and load drivers.
    inst_multiple udevadm kmod modprobe blkid \
        "$systemdutildir"/systemd-udevd \
        "$systemdsystemunitdir"/systemd-udevd.service \
        "$systemdsystemunitdir"/systemd-udevd-control.socket \
        "$systemdsystemunitdir"/systemd-udevd-kernel.socket \
        "$systemdsystemunitdir"/systemd-udev-trigger.service \
        "$systemdsystemunitdir"/initrd-udevadm-cleanup-db.service
    inst_simple "$moddir/coldplug.conf" "$systemdsystemunitdir/systemd-udev-trigger.service.d/anicca.conf"
    inst_rules 50-udev-default.rules 60-block.rules 60-persistent-storage.rules 80-drivers.rules 99-systemd.rules
    inst_libdir_file "libkmod.so*"
    $SYSTEMCTL -q --root "$initdir" add-wants sysinit.target systemd-udevd.service systemd-udev-trigger.service
    $SYSTEMCTL -q --root "$initdir" add-wants sockets.target \
        systemd-udevd-control.socket systemd-udevd-kernel.socket

    # systemd's way from here to the host, without the steps that look for an fstab.
    inst_multiple \
        "$systemdsystemunitdir"/initrd.target \
        "$systemdsystemunitdir"/initrd-fs.target \
        "$systemdsystemunitdir"/initrd-root-device.target \
        "$systemdsystemunitdir"/initrd-root-fs.target \
        "$systemdsystemunitdir"/initrd-usr-fs.target \
        "$systemdsystemunitdir"/initrd-switch-root.target \
        "$systemdsystemunitdir"/initrd-switch-root.service \
        "$systemdsystemunitdir"/initrd-cleanup.service
    $SYSTEMCTL -q --root "$initdir" add-wants initrd.target initrd-cleanup.service
    ln_r "$systemdsystemunitdir/initrd.target" "$systemdsystemunitdir/default.target"
    rm -f "$initdir$systemdutildir"/system-generators/*
    printf 'ID=anicca\nNAME=anicca\nPRETTY_NAME="anicca initrd"\n' > "$initdir/etc/initrd-release"
    ln -sf initrd-release "$initdir/etc/os-release"
    ln -sf ../proc/self/mounts "$initdir/etc/mtab" # for mkfs.nilfs2

    # There is no journald here: the kernel's log keeps everything, and the host's journald reads it from there.
    inst_simple "$moddir/system.conf" "/etc/systemd/system.conf.d/anicca.conf"

    # What the scripts call; most of what the guard calls is in busybox, its shell.
    inst_multiple busybox mount umount readlink stat tar tr cut cat dd rm cp mv ln mkdir rmdir chown chmod sync sleep \
        tail b2sum sh e2fsck mkfs.f2fs
    # Of other filesystems, what the tree has.
    inst_multiple -o btrfs mkfs.btrfs mkfs.ext4 mkfs.xfs mkfs.nilfs2 mkcp blkdiscard zpool zfs mount.zfs
    [[ -z $(type -P zpool) ]] || inst_libdir_file "libgcc_s.so*" # its threads end by it
    for name in common backend_f2fs backend_tmpfs backend_btrfs backend_afresh backend_overlay backend_nilfs2 \
        backend_zfs; do
        inst_simple "$moddir/$name.sh" "/usr/lib/anicca/$name.sh"
    done
    for name in guard nix layout digest stop; do
        inst_script "$moddir/$name.sh" "/usr/lib/anicca/$name.sh"
    done
    for name in guard nix layout digest; do
        inst_simple "$moddir/anicca-$name.service" "$systemdsystemunitdir/anicca-$name.service"
    done
    $SYSTEMCTL -q --root "$initdir" add-requires initrd-root-fs.target anicca-nix.service anicca-layout.service
    $SYSTEMCTL -q --root "$initdir" add-wants initrd-root-fs.target anicca-guard.service anicca-digest.service
    inst_simple "$moddir/anicca-stop.service" "$systemdsystemunitdir/emergency.service"
    ln -s sysroot/nix "$initdir/nix"
}

#!/bin/bash
# For a Debian host that is kept by other means and whose initrd is dracut's: the guard, and what lays the root that it
# leaves blank over the host's own. Without anicca.root= on the kernel command line, none of it runs.
# shellcheck disable=SC2154 # dracut sets its variables

check() {
    require_binaries busybox mkfs.f2fs mount udevadm blkid || return 1
    busybox getfattr --help > /dev/null 2>&1 || { dwarning "anicca: needs the package busybox-static" && return 1; }
    return 0
}

depends() {
    echo systemd
    # What the volume may be stacked on, as far as the host has it.
    find_binary mdadm > /dev/null && echo mdraid
    find_binary lvm > /dev/null && echo lvm
    [[ -x $systemdutildir/systemd-cryptsetup ]] && echo systemd-cryptsetup
    return 0
}

installkernel() {
    hostonly='' instmods f2fs ext4 btrfs xfs overlay crc32c crc32 crc32c_generic
}

install() {
    local file
    inst_multiple busybox mount umount udevadm modprobe blkid mkfs.f2fs
    inst_multiple -o btrfs mkfs.btrfs mkfs.ext4 mkfs.xfs blkdiscard systemd-run
    inst_rules "$moddir/66-anicca-stack.rules"
    for file in "$moddir"/scripts/*.sh; do
        inst_script "$file" "/usr/lib/anicca/${file##*/}"
    done
    for file in guard over; do
        inst_simple "$moddir/anicca-$file.service" "$systemdsystemunitdir/anicca-$file.service"
        $SYSTEMCTL -q --root "$initdir" add-wants initrd-root-fs.target "anicca-$file.service"
    done
    inst_simple "$moddir/aside.conf" "$systemdsystemunitdir/anicca-guard.service.d/aside.conf"
}

#!/bin/sh
# Mounts the persistent volume on /sysroot/nix. Without it there is no host: every failure here stops the boot.
set -u
# shellcheck source=common.sh
. "${0%/*}/common.sh"

# fail TEXT: stops the boot; stop.sh shows the text.
fail() {
    one_line "$1"
    say 3 "NO HOST: $value"
    printf '%s\n' "$value" >> "$ANICCA_RUN/failed"
    exit 1
}

[ -d "$ANICCA_RUN" ] || mkdir -p "$ANICCA_RUN"
parameter anicca.nix || fail "the kernel command line names no anicca.nix="
device_of "$value" || fail "anicca.nix=$value is no PARTUUID=, UUID= or path under /dev"
device=$value
await "$device" 60 || fail "the volume of /nix, $device, has not appeared in 60 seconds"
# As systemd-fsck does: repair what is safe to repair. Status 1 and 2: something was, all is well.
said=$(e2fsck -p "$device" 2>&1)
status=$?
[ "$status" -lt 4 ] || fail "e2fsck -p $device (the volume of /nix) gives $status: $said"
if [ "$status" != 0 ]; then
    one_line "$said"
    say 4 "e2fsck -p $device: $value"
fi
mkdir "$ANICCA_SYSROOT/nix"
said=$(mount -t ext4 -o noatime "$device" "$ANICCA_SYSROOT/nix" 2>&1) || fail "mounting $device on /nix: $said"

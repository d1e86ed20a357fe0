# Removes what is on the root's filesystem besides the directory that is the root since a soft reboot.
# `device`, `kind`, `options` and `keep` are set in the lines put before these; run once in the new userspace.
# shellcheck shell=sh disable=SC2154
set -eu
top=/run/anicca/top
mkdir -p "$top"
mount -t "$kind" -o "$options" "$device" "$top"
trap 'umount "$top"' EXIT
# Only if that directory is what runs: otherwise what would be removed is the root itself.
[ "$(stat -c %d:%i "$top/$keep")" = "$(stat -c %d:%i /)" ]
find "$top" -mindepth 1 -maxdepth 1 ! -name "$keep" -exec rm -rf --one-file-system {} +
rm -f "$0"

#!/usr/bin/busybox sh
# For hosts kept by other means: their root filesystem becomes the read-only layer under what the guard has left blank.
# It never stops the boot: where there is no overlay to be had, the host is what it is without us, and that is said.
# shellcheck shell=dash
set -u
# shellcheck source=../../guard/90anicca/common.sh
. "${0%/*}/common.sh"
host=${1:-/sysroot}
blank=$ANICCA_SYSROOT
lower=$ANICCA_RUN/lower
own_usr=$ANICCA_RUN/usr

# over: mounts the overlay in place of the host's root, with its new layer in `blank`.
over() {
    mkdir "$blank/upper" "$blank/work" \
        && mount -t overlay -o "lowerdir=$lower,upperdir=$blank/upper,workdir=$blank/work" anicca-root "$host"
}

# below: the host's own root at `lower`, read-only. Private, or the overlay would be mounted there too.
below() {
    mount --bind "$host" "$lower" && mount --make-private "$lower" && mount -o remount,bind,ro "$lower"
}

# without_root: fstab's line for / speaks of what is now the lower layer; its options are not the overlay's.
without_root() {
    [ -f "$host/etc/fstab" ] || return 0
    awk '$1 !~ /^#/ && $2 == "/" { printf "# anicca: " } { print }' "$host/etc/fstab" > "$ANICCA_RUN/fstab" \
        && cat "$ANICCA_RUN/fstab" > "$host/etc/fstab"
}

exec 2> "$ANICCA_RUN/over.log"
mounted "$blank" || fall_back
mkdir -p "$lower" "$own_usr"
# A /usr that is mounted already would be hidden: it is taken aside meanwhile.
usr=
! mounted "$host/usr" || { usr=yes && mount --move "$host/usr" "$own_usr"; }
if below && { over || { fall_back && over; }; }; then
    without_root || say 3 "/etc/fstab still has its line for /"
else
    one_line "$(cat "$ANICCA_RUN/over.log")"
    say 3 "NOTHING WILL BE FORGOTTEN: no overlay over the root of this host: $value"
fi
[ -z "$usr" ] || mount --move "$own_usr" "$host/usr"
exit 0

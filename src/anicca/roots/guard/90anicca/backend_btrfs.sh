# btrfs: each boot has a root of its own, a snapshot of a blank one; the one before is set aside and deleted later.
# On the top level lie `blank`, `root` and `old`, in which those set aside are named by the time and their number.
# Same functions, same order in each backend.
# shellcheck shell=dash
# shellcheck disable=SC2034,SC2154 # options, kind: the guard reads them; seen: it sets it
kind=btrfs
top=$ANICCA_RUN/top

# backend_options DECLARED: `options` becomes what to mount with. The promise is ours, whatever the boot entry says.
backend_options() {
    options=subvol=root
    backend_rest=$1,
    while [ -n "$backend_rest" ]; do
        case ${backend_rest%%,*} in
            '' | subvol=* | subvolid=* | ro | rw) ;;
            *) options=$options,${backend_rest%%,*} ;;
        esac
        backend_rest=${backend_rest#*,}
    done
}

# backend_reset DEVICE: the root of the last boot is set aside, a blank one takes its place. A power cut between the two
# leaves a filesystem without `root`, which is as good.
backend_reset() {
    is_ours && btrfs_top "$1" || return 1
    if [ ! -d "$top/old" ] || [ ! -d "$top/blank" ]; then
        because "there is no blank subvolume to start from"
        return 1
    fi
    if [ -e "$top/root" ]; then
        # The number is asked of the filesystem: what a person has put there in its place has another.
        backend_number=$(btrfs inspect-internal rootid "$top/root") || return 1
        mv -T "$top/root" "$top/old/$(date +%s)-$backend_number" || return 1
    fi
    btrfs -q subvolume snapshot "$top/blank" "$top/root" > "$seen" 2>&1 && return
    because "no snapshot of the blank subvolume: $(cat "$seen")"
    return 1
}

# backend_mount DEVICE TARGET OPTIONS
backend_mount() {
    mount -t btrfs -o "rw,$3" "$1" "$2"
}

# backend_in_force "TYPE OPTIONS": whether the mounted filesystem keeps the promise.
backend_in_force() {
    case "$1," in "btrfs rw,"*,subvol=/root,*) ;; *) return 1 ;; esac
}

# backend_sound DEVICE: whether the kernel has met no damage since. It would have said so.
backend_sound() {
    :
}

# backend_minimum: `options` becomes the least that keeps the promise.
backend_minimum() {
    options=subvol=root
}

# backend_make DEVICE OPTION…: a new filesystem, whatever was there.
backend_make() {
    ! mounted "$top" || umount "$top" || return 1
    make_filesystem btrfs "$@" || return 1
    btrfs_top "$1" || return 1
    mkdir "$top/old" && btrfs -q subvolume create "$top/blank" && btrfs property set "$top/blank" ro true || return 1
    umount "$top"
}

# backend_after DEVICE: deletes the roots set aside, all that was nested in them first, but for those to be kept:
# `anicca.keep=N,DAYS`, the newest N no older than that. They are known by the number in their name being theirs.
backend_after() {
    parameter anicca.keep || value=0
    backend_keep=${value%%,*}
    backend_days=${value#*,}
    [ "$backend_days" != "$value" ] || backend_days=36500
    backend_oldest=$(($(date +%s) - backend_days * 86400))
    # In the order of their time.
    set -- "$top/old"/*
    while [ $# != 0 ]; do
        backend_name=${1##*/}
        if [ $# -gt "$backend_keep" ] || [ "${backend_name%-*}" -lt "$backend_oldest" ]; then
            backend_number=$(btrfs inspect-internal rootid "$1") || backend_number=none
            [ "$backend_number" != "${backend_name#*-}" ] || btrfs -q subvolume delete --recursive "$1"
        fi
        shift
    done
    umount "$top"
}

# backend_spoil DEVICE NOTE: so that the next boot makes the filesystem afresh, when this one cannot because it hangs.
# The superblock is at 64 KiB; its copies are not looked at by the kernel. The note is at the beginning.
backend_spoil() {
    dd if=/dev/zero of="$1" bs=4096 seek=16 count=1 conv=fsync,notrunc status=none \
        && printf '%s\n' "$2" | dd of="$1" bs=4096 count=1 conv=sync,fsync,notrunc status=none
}

# btrfs_top DEVICE: the top level of the filesystem on `top`.
btrfs_top() {
    [ -d "$top" ] || mkdir -m 0700 "$top" || return 1
    ! mounted "$top" || return 0
    mount -t btrfs -o subvolid=5 "$1" "$top" > "$seen" 2>&1 && return
    because "mount of the top level: $(cat "$seen")"
    return 1
}

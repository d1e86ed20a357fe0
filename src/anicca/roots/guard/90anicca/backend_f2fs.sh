# f2fs with checkpoint=disable: nothing written after the mount survives it. Same functions, same order in each backend.
# shellcheck shell=sh
# shellcheck disable=SC2034 # options: the guard reads it

# backend_options DECLARED: `options` becomes what to mount with. The promise is ours, whatever the boot entry says.
backend_options() {
    options=checkpoint=disable
    backend_rest=$1,
    while [ -n "$backend_rest" ]; do
        case ${backend_rest%%,*} in
            '' | checkpoint=* | ro | rw) ;;
            *) options=$options,${backend_rest%%,*} ;;
        esac
        backend_rest=${backend_rest#*,}
    done
}

# backend_reset DEVICE: the state of the last boot, away with it. Here the mount itself does that.
backend_reset() {
    :
}

# backend_mount DEVICE TARGET OPTIONS
backend_mount() {
    mount -t f2fs -o "rw,$3" "$1" "$2"
}

# backend_in_force "TYPE OPTIONS": whether the mounted filesystem keeps the promise.
backend_in_force() {
    case "$1," in "f2fs rw,"*,checkpoint=disable[,:]*) ;; *) return 1 ;; esac
}

# backend_minimum: `options` becomes the least that keeps the promise.
backend_minimum() {
    options=checkpoint=disable
}

# backend_make DEVICE OPTION…: a new filesystem, whatever was there.
backend_make() {
    backend_device=$1
    shift
    mkfs.f2fs -q -f -l anicca-root "$@" "$backend_device"
}

# backend_spoil DEVICE NOTE: so that the next boot makes the filesystem afresh, when this one cannot because it hangs.
# 8 KiB hold both superblocks; the note comes first.
backend_spoil() {
    printf '%s\n' "$2" | dd of="$1" bs=8192 count=1 conv=sync,fsync status=none
}

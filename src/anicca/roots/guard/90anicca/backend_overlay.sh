# An overlay with a new upper layer at every boot, on a volume with a filesystem of any kind: `anicca.backend=overlay:ext4`.
# On the volume lie `lower`, which is empty, `upper` and `work`; and `old`, what earlier boots wrote, to be deleted.
# Same functions, same order in each backend.
# shellcheck shell=dash
# shellcheck disable=SC2034,SC2154 # options, kind: the guard reads them; argument, seen: it sets them
kind=$argument
top=$ANICCA_RUN/top

# backend_options DECLARED: `options` becomes what to mount the volume with.
backend_options() {
    options=${1:-noatime}
}

# backend_reset DEVICE: what the last boot wrote is set aside, in one rename. A power cut before the end leaves no
# `upper`, or one that is new.
backend_reset() {
    is_ours || return 1
    [ -d "$top" ] || mkdir -m 0700 "$top" || return 1
    if ! mounted "$top" && ! mount -t "$kind" -o "rw,$options" "$1" "$top" > "$seen" 2>&1; then
        because "mount of the volume: $(cat "$seen")"
        return 2
    fi
    overlay_layers > "$seen" 2>&1 && return
    because "no new layer: $(cat "$seen")"
    return 1
}

# backend_mount DEVICE TARGET OPTIONS
backend_mount() {
    mount -t overlay -o "rw,lowerdir=$top/lower,upperdir=$top/upper,workdir=$top/work" anicca-root "$2"
}

# backend_in_force "TYPE OPTIONS": whether the mounted filesystem keeps the promise.
backend_in_force() {
    case "$1," in "overlay rw,"*",upperdir=$top/upper,"*) ;; *) return 1 ;; esac
}

# backend_sound DEVICE: whether the kernel has met no damage since. It would have said so.
backend_sound() {
    :
}

# backend_minimum: `options` becomes the least that keeps the promise.
backend_minimum() {
    options=relatime
}

# backend_make DEVICE OPTION…: a new filesystem, whatever was there.
backend_make() {
    ! mounted "$top" || umount "$top" || return 1
    make_filesystem "$kind" "$@"
}

# backend_after DEVICE: what was set aside is deleted file by file, which takes as long as it takes: by a unit of the
# host's, when it is up and has nothing else to do.
backend_after() {
    [ -n "$(ls -A "$top/old")" ] || return 0
    mkdir -p "$ANICCA_UNITS/multi-user.target.wants"
    printf '%s\n' '[Unit]' 'Description=Removal of What Was Forgotten' 'After=multi-user.target' \
        '[Service]' 'Type=exec' 'Nice=19' 'IOSchedulingClass=idle' \
        "ExecStart=/bin/sh -c 'exec rm -rf $top/old/*'" > "$ANICCA_UNITS/anicca-forget.service"
    ln -sf ../anicca-forget.service "$ANICCA_UNITS/multi-user.target.wants/anicca-forget.service"
}

# backend_spoil DEVICE NOTE: so that the next boot makes the filesystem afresh, when this one cannot because it hangs.
backend_spoil() {
    dd if=/dev/zero of="$1" bs=4096 count=32 conv=notrunc status=none \
        && printf '%s\n' "$2" | dd of="$1" bs=4096 count=1 conv=sync,fsync,notrunc status=none
}

# overlay_layers: `upper` and `work` become new and empty.
overlay_layers() {
    [ -d "$top/old" ] || mkdir "$top/old" || return 1
    [ -d "$top/lower" ] || mkdir "$top/lower" || return 1
    for overlay_layer in upper work; do
        [ ! -e "$top/$overlay_layer" ] && [ ! -L "$top/$overlay_layer" ] \
            || mv -T "$top/$overlay_layer" "$top/old/$(date +%s)-$overlay_layer-$bounded_number" || return 1
        mkdir -m 0755 "$top/$overlay_layer" || return 1
    done
    # What a person has put there would be seen through.
    [ -z "$(ls -A "$top/lower")" ]
}

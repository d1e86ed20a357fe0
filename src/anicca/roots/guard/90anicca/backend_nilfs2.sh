# nilfs2: it has snapshots, but none that can be written to or gone back to. So the recorded blank one is mounted
# read-only, with an overlay above it that writes into memory. Same functions, same order in each backend.
# shellcheck shell=dash
# shellcheck disable=SC2034,SC2154 # options, kind: the guard reads them; newline, seen: set elsewhere
kind=nilfs2
top=$ANICCA_RUN/top
memory=$ANICCA_RUN/memory

# backend_options DECLARED: `options` becomes what to mount the memory with.
backend_options() {
    options=mode=0755,${1:-size=50%}
}

# backend_reset DEVICE: nothing on the volume has changed since it was made; what is mounted is the recorded snapshot.
backend_reset() {
    backend_note=$(dd if="$1" bs=512 count=1 status=none)
    backend_note=${backend_note%%"$newline"*}
    backend_number=${backend_note#"anicca: blank checkpoint "}
    if [ "$backend_number" = "$backend_note" ]; then
        because "no blank checkpoint is recorded"
        return 1
    fi
    [ -d "$top" ] || mkdir -m 0700 "$top" || return 1
    ! mounted "$top" || return 0
    mount -t nilfs2 -o "ro,norecovery,cp=$backend_number" "$1" "$top" > "$seen" 2>&1 && return
    because "mount of checkpoint $backend_number: $(cat "$seen")"
    return 1
}

# backend_mount DEVICE TARGET OPTIONS
backend_mount() {
    [ -d "$memory" ] || mkdir -m 0700 "$memory" || return 1
    mounted "$memory" || mount -t tmpfs -o "rw,$3" anicca-memory "$memory" || return 1
    [ -d "$memory/upper" ] || mkdir -m 0755 "$memory/upper" "$memory/work" || return 1
    mount -t overlay -o "rw,lowerdir=$top/blank,upperdir=$memory/upper,workdir=$memory/work" anicca-root "$2"
}

# backend_in_force "TYPE OPTIONS": whether the mounted filesystem keeps the promise.
backend_in_force() {
    case "$1," in "overlay rw,"*",upperdir=$memory/upper,"*) ;; *) return 1 ;; esac
    mounted "$memory"
    case $value in "tmpfs rw,"*) ;; *) return 1 ;; esac
}

# backend_sound DEVICE: whether the kernel has met no damage since. It would have said so.
backend_sound() {
    :
}

# backend_minimum: `options` becomes the least that keeps the promise.
backend_minimum() {
    options=mode=0755,size=50%
}

# backend_make DEVICE OPTION…: a new filesystem, whatever was there, with a snapshot of an empty directory. The
# snapshot's number is in the first KiB, which is left to boot loaders.
backend_make() {
    ! mounted "$top" || umount "$top" || return 1
    make_filesystem nilfs2 "$@" || return 1
    [ -d "$top" ] || mkdir -m 0700 "$top" || return 1
    [ -d /dev/shm ] || mkdir -m 1777 /dev/shm || return 1 # mkcp has its locks there
    mount -t nilfs2 "$1" "$top" && mkdir -m 0755 "$top/blank" && backend_number=$(mkcp -s -p "$1") || return 1
    umount "$top" && printf 'anicca: blank checkpoint %s\n' "$backend_number" | dd of="$1" conv=notrunc,fsync status=none
}

# backend_after DEVICE: nothing is left to be done.
backend_after() {
    :
}

# backend_spoil DEVICE NOTE: so that the next boot makes the filesystem afresh, when this one cannot because it hangs.
# Without its note it is not mounted.
backend_spoil() {
    printf '%s\n' "$2" | dd of="$1" bs=1024 count=1 conv=sync,fsync,notrunc status=none
}

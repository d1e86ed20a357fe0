# Any filesystem, made anew at every boot: `anicca.backend=afresh:ext4`. Same functions, same order in each backend.
# shellcheck shell=dash
# shellcheck disable=SC2034,SC2154 # options, kind, patience: the guard reads them; argument: it sets it
kind=$argument
patience=150 # making one takes longer than mounting it

# backend_options DECLARED: `options` becomes what to mount with.
backend_options() {
    options=${1:-relatime}
}

# backend_reset DEVICE: what the last boot left goes with its filesystem.
backend_reset() {
    is_ours && make_afresh
}

# backend_mount DEVICE TARGET OPTIONS
backend_mount() {
    mount -t "$kind" -o "rw,$3" "$1" "$2"
}

# backend_in_force "TYPE OPTIONS": whether the mounted filesystem keeps the promise.
backend_in_force() {
    case "$1," in "$kind rw,"*) ;; *) return 1 ;; esac
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
    make_filesystem "$kind" "$@"
}

# backend_after DEVICE: nothing is left to be done.
backend_after() {
    :
}

# backend_spoil DEVICE NOTE: what hangs has just been made: making it again is no cure.
backend_spoil() {
    return 1
}

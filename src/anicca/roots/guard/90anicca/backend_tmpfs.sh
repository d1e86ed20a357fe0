# tmpfs: memory, blank by nature; there is no device. Same functions, same order in each backend.
# shellcheck shell=sh
# shellcheck disable=SC2034 # options, kind: the guard reads them
kind=tmpfs

# backend_options DECLARED: `options` becomes what to mount with.
backend_options() {
    options=mode=0755,${1:-size=50%}
}

# backend_reset DEVICE: nothing is left of the last boot.
backend_reset() {
    :
}

# backend_mount DEVICE TARGET OPTIONS
backend_mount() {
    mount -t tmpfs -o "rw,$3" anicca-root "$2"
}

# backend_in_force "TYPE OPTIONS": whether the mounted filesystem keeps the promise.
backend_in_force() {
    case "$1," in "tmpfs rw,"*) ;; *) return 1 ;; esac
}

# backend_sound DEVICE: whether the kernel has met no damage since. It would have said so.
backend_sound() {
    :
}

# backend_minimum: `options` becomes the least that keeps the promise.
backend_minimum() {
    options=mode=0755,size=50%
}

# backend_make DEVICE OPTION…: there is nothing to make.
backend_make() {
    return 1
}

# backend_after DEVICE: nothing is left to be done.
backend_after() {
    :
}

# backend_spoil DEVICE NOTE: nothing to spoil.
backend_spoil() {
    :
}

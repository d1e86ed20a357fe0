# ZFS: of all pools the one on the root's device is imported, and its root rolled back to a blank snapshot. That carries a
# record of the root's properties, which are rolled back by nothing. Same functions, same order in each backend.
# shellcheck shell=dash
# shellcheck disable=SC2034,SC2154 # options, kind, patience: the guard reads them; mounted_source, newline, seen: set elsewhere
kind=zfs
patience=120 # an import goes through what the last boot had not finished
pool=anicca-root
record=anicca:blank
zfs_pools=/proc/spl/kstat/zfs
zfs_volumes=$ANICCA_MODULES/zfs/parameters/zvol_inhibit_dev

# backend_options DECLARED: `options` becomes what to mount with.
backend_options() {
    options=${1:-noatime}
}

# backend_reset DEVICE: the pool is imported, whatever else a person has made in it goes, the root becomes blank.
backend_reset() {
    is_ours && zfs_import "$1" && zfs_clear || return 1
    zfs rollback -r "$pool/root@blank" > "$seen" 2>&1 && return
    because "rollback: $(cat "$seen")"
    return 1
}

# backend_mount DEVICE TARGET OPTIONS
backend_mount() {
    mount -t zfs -o "rw,$3" "$pool/root" "$2"
}

# backend_in_force "TYPE OPTIONS": whether the mounted filesystem keeps the promise.
backend_in_force() {
    case "$1,$mounted_source" in "zfs rw,"*",$pool/root") ;; *) return 1 ;; esac
}

# backend_sound DEVICE: whether the kernel has met no damage since. It writes only when it is told to: see backend_make.
backend_sound() {
    zpool sync "$pool" > "$seen" 2>&1 && zpool status -x "$pool" > "$seen" 2>&1
    case $(cat "$seen") in *"' is healthy") return 0 ;; esac
    because "the pool is not sound: $(cat "$seen")"
    return 1
}

# backend_minimum: `options` becomes the least that keeps the promise.
backend_minimum() {
    options=noatime
}

# backend_make DEVICE OPTION…: a new pool, whatever was there. What a program asks to be on the disk need not be: it is
# forgotten all the same.
backend_make() {
    [ ! -d "$zfs_pools/$pool" ] || zpool destroy -f "$pool" || return 1
    # A whole disk would be divided, and the pool be on a part of it.
    if [ ! -e "$ANICCA_SYSFS/${1##*/}/partition" ] && [ ! -d "$ANICCA_SYSFS/${1##*/}/dm" ]; then
        echo "$1 is neither a partition nor a logical volume"
        return 1
    fi
    # What ZFS leaves as it is: another filesystem's signature, our notes.
    dd if=/dev/zero of="$1" bs=8192 count=1 conv=fsync,notrunc status=none || return 1
    make_device=$1
    shift
    zpool create -f -o cachefile=none -o ashift=12 -o failmode=continue -O canmount=off -O mountpoint=none \
        -O sync=disabled -O acltype=posix -O xattr=sa "$@" "$pool" "$make_device" \
        && zfs create -o mountpoint=legacy "$pool/root" && zfs snapshot "$pool/root@blank" && zfs_properties \
        && zfs set "$record=$value" "$pool/root@blank"
}

# backend_after DEVICE: other pools may have their volumes again.
backend_after() {
    printf 0 > "$zfs_volumes"
}

# backend_spoil DEVICE NOTE: so that the next boot makes the filesystem afresh, when this one cannot because it hangs.
# A label is 256 KiB; two are at the beginning, after the note, and two at the end.
backend_spoil() {
    read -r spoil_sectors < "$ANICCA_SYSFS/${1##*/}/size"
    dd if=/dev/zero of="$1" bs=262144 seek=$((spoil_sectors / 512 - 2)) count=2 conv=fsync,notrunc status=none \
        && dd if=/dev/zero of="$1" bs=262144 count=2 conv=fsync,notrunc status=none \
        && printf '%s\n' "$2" | dd of="$1" bs=4096 count=1 conv=sync,fsync,notrunc status=none
}

# zfs_import DEVICE: the pool on this device. No other device is looked at: a pool of that name may be there too. A host
# whose power was cut has not given it back, hence the force.
zfs_import() {
    [ ! -d "$zfs_pools/$pool" ] || return 0
    /usr/sbin/modprobe -q zfs
    # What udev has open cannot be destroyed, and it opens every device to look at it.
    printf 1 > "$zfs_volumes" || return 1
    zpool import -f -N -o cachefile=none -d "$1" "$pool" > "$seen" 2>&1 && return
    because "import of the pool: $(cat "$seen")"
    return 1
}

# zfs_clear: all in the pool but the root and its blank snapshot is destroyed, clones first; then the root's properties
# are as they were recorded.
zfs_clear() {
    zfs_recorded='' zfs_more=''
    zfs list -H -r -t all -o "name,$record" "$pool" > "$ANICCA_RUN/guard.pool" || return 1
    while IFS='	' read -r zfs_name zfs_value; do
        case $zfs_name in
            "$pool" | "$pool/root") ;;
            "$pool/root@blank") zfs_recorded=$zfs_value ;;
            # What went with another is not there any more. Bookmarks take no -R.
            *'#'*) zfs_more=1 && zfs destroy "$zfs_name" > "$seen" 2>&1 ;;
            *) zfs_more=1 && zfs destroy -R "$zfs_name" > "$seen" 2>&1 ;;
        esac
    done < "$ANICCA_RUN/guard.pool"
    case $zfs_recorded in
        '' | -) because "there is no blank snapshot of ours" && return 1 ;;
    esac
    if [ -n "$zfs_more" ]; then
        zfs_more=$(zfs list -H -r -t all -o name "$pool")
        if [ "$zfs_more" != "$pool$newline$pool/root$newline$pool/root@blank" ]; then
            because "what was made in the pool cannot be destroyed: $zfs_more"
            return 1
        fi
    fi
    zfs_properties
    [ "$value" != "$zfs_recorded" ] || return 0
    because "the properties of the root are not those that it was made with: $value"
    return 1
}

# zfs_properties: `value` becomes the root's properties that are not as ZFS has them by itself, in a line.
zfs_properties() {
    value=$(zfs get -H -p -s local,inherited,received -o property,value all "$pool/root") || return 1
    value=$(printf '%s' "$value" | tr '\t\n' '= ')
}

# f2fs with checkpoint=disable: nothing written after the mount survives it. Same functions, same order in each backend.
# shellcheck shell=dash
# shellcheck disable=SC2034,SC2154 # options, kind: the guard reads them; newline, seen: set elsewhere
kind=f2fs

patience=600 # erasing takes as long as writing the whole volume; a hang is found later for it
parameter anicca.forget
[ "$value" = erase ] || patience=60

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

# backend_reset DEVICE: the state of the last boot, away with it. Here the mount itself does that, but leaves what was
# written in free blocks; `anicca.forget=erase` has zeros over all of it, which the device may do by discarding.
backend_reset() {
    parameter anicca.forget
    [ "$value" = erase ] || return 0
    is_ours || return 1
    if ! /usr/sbin/blkdiscard --force --zeroout "$device" > "$seen" 2>&1; then
        because "not erased: $(cat "$seen")"
        return 1
    fi
    make_afresh
}

# backend_mount DEVICE TARGET OPTIONS
backend_mount() {
    mount -t f2fs -o "rw,$3" "$1" "$2"
}

# backend_in_force "TYPE OPTIONS": whether the mounted filesystem keeps the promise.
backend_in_force() {
    case "$1," in "f2fs rw,"*,checkpoint=disable[,:]*) ;; *) return 1 ;; esac
}

# backend_sound DEVICE: whether the kernel has met no damage since. Garbage in the root directory is nothing to `readdir`
# as shells call it, and lets files be written that are not found again.
backend_sound() {
    backend_name=$(readlink -f "$1")
    backend_name=$ANICCA_F2FS/${backend_name##*/}/stat/sb_status
    [ -e "$backend_name" ] || return 0
    read -r backend_status < "$backend_name"
    # SBI_NEED_FSCK of fs/f2fs/f2fs.h.
    [ $((0x$backend_status & 4)) != 0 ] || return 0
    because "the kernel has found damage in it"
    return 1
}

# backend_minimum: `options` becomes the least that keeps the promise.
backend_minimum() {
    options=checkpoint=disable
}

# backend_make DEVICE OPTION…: a new filesystem, whatever was there.
backend_make() {
    make_filesystem f2fs "$@"
}

# backend_after DEVICE: whether the newest checkpoint is the one recorded when the root was last known to be blank.
# The mount itself has just written one, so after a mount without our option both packs differ from the record; the
# first is looked at. The record lies where f2fs has nothing: its line in the first KiB, left to boot loaders, the
# pack from block 2 on. Other kernels may write other packs: theirs is recorded anew.
backend_after() {
    read -r backend_kernel < "$ANICCA_OSRELEASE"
    backend_note=$(dd if="$1" bs=512 count=1 status=none)
    backend_note=${backend_note%%"$newline"*}
    case $backend_note in
        "anicca: checkpoint $backend_kernel "*) ;;
        *) f2fs_record "$1" && return ;;
    esac
    backend_note=${backend_note##*" $backend_kernel "}
    f2fs_pack "$1" "${backend_note% *}" "${backend_note#* }" now
    f2fs_pack "$1" 2 "${backend_note#* }" recorded
    f2fs_same_pack && return
    because "checkpoints were made on it since: it was mounted without checkpoint=disable. Nothing else is left of that"
    printf 'anicca: no checkpoint\n' | dd of="$1" conv=notrunc,fsync status=none
    return 1
}

# backend_spoil DEVICE NOTE: so that the next boot makes the filesystem afresh, when this one cannot because it hangs.
# 8 KiB hold both superblocks; the note comes first.
backend_spoil() {
    printf '%s\n' "$2" | dd of="$1" bs=8192 count=1 conv=sync,fsync status=none
}

# f2fs_record DEVICE: records the checkpoint of a blank root, once two mounts in a row have written the same.
f2fs_record() {
    # cp_blkaddr of the superblock, cp_pack_total_block_count of the pack: include/linux/f2fs_fs.h.
    backend_first=$(hexdump -s 1100 -n 4 -e '1/4 "%u"' "$1")
    backend_blocks=$(hexdump -s $((backend_first * 4096 + 136)) -n 4 -e '1/4 "%u"' "$1")
    [ "$backend_blocks" -le 16 ] && [ "$backend_first" -ge 18 ] || return 0
    f2fs_pack "$1" "$backend_first" "$backend_blocks" now
    f2fs_pack "$1" $((backend_first + 512)) "$backend_blocks" recorded
    f2fs_same_pack || return 0
    dd if="$ANICCA_RUN/pack.now" of="$1" bs=4096 seek=2 conv=notrunc,fsync status=none
    printf 'anicca: checkpoint %s %s %s\n' "$backend_kernel" "$backend_first" "$backend_blocks" \
        | dd of="$1" conv=notrunc,fsync status=none
}

# f2fs_pack DEVICE BLOCK BLOCKS NAME: a copy of a checkpoint pack, from the device and not from a cache of it.
f2fs_pack() {
    dd if="$1" of="$ANICCA_RUN/pack.$4" bs=4096 skip="$2" count="$3" iflag=direct status=none
}

# f2fs_same_pack: whether the two copies differ in version, elapsed time and checksum alone, which a pack has in its
# first block and in its last.
f2fs_same_pack() {
    cmp -l "$ANICCA_RUN/pack.now" "$ANICCA_RUN/pack.recorded" > "$ANICCA_RUN/pack.differences" 2>&1
    [ $? -le 1 ] || return 1
    backend_last=$((($(stat -c %s "$ANICCA_RUN/pack.now") / 4096 - 1) * 4096))
    # Each line: a byte's number, counted from 1, and both its values; or that one of the files ends too early.
    while read -r backend_byte _; do
        case $backend_byte in *[!0-9]*) return 1 ;; esac
        [ "$backend_byte" -le "$backend_last" ] || backend_byte=$((backend_byte - backend_last))
        if [ "$backend_byte" -gt 4096 ]; then
            return 1
        elif [ "$backend_byte" -gt 8 ] && [ "$backend_byte" -lt 169 ]; then
            return 1
        elif [ "$backend_byte" -gt 176 ] && [ "$backend_byte" -lt 4093 ]; then
            return 1
        fi
    done < "$ANICCA_RUN/pack.differences"
}

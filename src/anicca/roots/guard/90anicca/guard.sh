#!/bin/sh
# The guard: leaves a blank root mounted on /sysroot, whatever state the last one was left in, and never fails.
# No fsck here: fsck.f2fs calls healthy roots broken and broken ones healthy. docs/internals/guard.md has the cases.
# shellcheck disable=SC2317 # `bounded` calls functions by name
set -u
lib=${0%/*}
# shellcheck source=common.sh
. "$lib/common.sh"
root=$ANICCA_SYSROOT
reasons=$ANICCA_RUN/guard.reasons
hung="anicca: the filesystem hung at the boot before"

# because TEXT: notes why this is not an ordinary boot. A file, as most callers run in a bounded process.
because() {
    one_line "$1"
    printf '%s\n' "$value" >> "$reasons"
}

# is_ours: whether the device may be made afresh. The PARTUUID has led here; the partition's name must agree.
# What has no partition's name (a logical volume) must carry our label, if it carries any.
is_ours() {
    device=$(readlink -f "$device")
    ours_name=
    while IFS='=' read -r ours_key ours_value; do
        [ "$ours_key" != PARTNAME ] || ours_name=$ours_value
    done < "$ANICCA_SYSFS/${device##*/}/uevent"
    case $ours_name in
        root | anicca-root) return 0 ;;
        ?*) because "$device is named \"$ours_name\", not root: not touched" && return 1 ;;
    esac
    ours_name=$(blkid -p -s LABEL -o value "$device")
    case $ours_name in
        '' | anicca-root) ;;
        *) because "$device is labelled \"$ours_name\", not anicca-root: not touched" && return 1 ;;
    esac
    # Without any name of ours, whatever else it holds is somebody's.
    ours_type=$(blkid -p -s TYPE -o value "$device")
    case $ours_name:$ours_type in
        anicca-root:* | ":$backend" | :) ;;
        *) because "$device holds $ours_type and no name of ours: not touched" && return 1 ;;
    esac
}

# is_blank: no entry (but an empty lost+found), and the root directory itself as mkfs leaves it.
is_blank() {
    for blank_entry in "$root"/* "$root"/.[!.]* "$root"/..?* "$root"/lost+found/* "$root"/lost+found/.[!.]*; do
        [ -e "$blank_entry" ] || [ -L "$blank_entry" ] || continue
        [ "$blank_entry" != "$root/lost+found" ] || continue
        because "not blank: it holds /${blank_entry#"$root/"}"
        return 1
    done
    if [ -e "$root/lost+found" ] && [ "$(stat -c '%F %a %u %g' "$root/lost+found")" != 'directory 700 0 0' ]; then
        because "not blank: /lost+found has been changed"
        return 1
    fi
    # tar tells mode, owner, group, ACLs and attributes in one go (attributes would come first, in a record of their
    # own): name, mode 0755, uid 0, gid 0, size 0, time 0, checksum, type 5. The shell drops the NULs between.
    blank_header=$(tar --create --no-recursion --format=posix --pax-option=delete=atime,delete=ctime --mtime=@0 \
        --numeric-owner --xattrs --xattrs-include='*' --acls -C "$root" .)
    case $blank_header in
        ./0000755000000000000000000000000000000000000??????' 5ustar'*) ;;
        *)
            because "not blank: / has mode, owner and group $(stat -c '%a %u %g' "$root"), or extended attributes"
            return 1
            ;;
    esac
}

# can_write: some damage shows only here, as an error or for ever.
can_write() {
    write_said=$(dd if=/dev/zero of="$root/.anicca-probe" bs=4096 count=1 conv=fsync status=none 2>&1 \
        && rm "$root/.anicca-probe" 2>&1) && return 0
    because "cannot write: $write_said"
    return 1
}

# attempt OPTIONS: mounts the root and sees for itself. Runs bounded.
attempt() {
    backend_reset "$device" || return 1
    clock
    attempt_from=$now
    if ! attempt_said=$(backend_mount "$device" "$root" "$1" 2>&1); then
        because "mount with $1: $attempt_said"
        return 2
    fi
    clock
    printf '%s\n' $((now - attempt_from)) > "$ANICCA_RUN/guard.mount"
    mounted "$root" || value="nothing"
    if ! backend_in_force "$value"; then
        because "the mount does not keep the promise: $value"
        return 1
    fi
    is_blank && can_write
}

# hand_over: 0 with a blank root mounted, 1 if there is none, 124 if the filesystem hangs.
hand_over() {
    bounded 60 attempt "$options"
    over=$?
    if [ "$over" = 2 ]; then # perhaps it was one of the options
        over_options=$options
        backend_minimum
        if [ "$options" != "$over_options" ]; then
            bounded 60 attempt "$options"
            over=$?
        fi
        [ "$over" = 0 ] || options=$over_options
    fi
    [ "$over" != 124 ] || because "the filesystem hangs"
    case $over in 0 | 124) return "$over" ;; esac
    # A mount of a damaged filesystem may refuse to go.
    ! mounted "$root" || bounded 10 umount "$root" || over=124
    return "$over"
}

# make_afresh: a new filesystem on the device that is ours.
make_afresh() {
    set -f
    make_options='' make_glue=' '
    make_ifs=$IFS
    IFS=,
    # "-O,extra_attr,compression" is the option -O with the value "extra_attr,compression".
    for make_word in $mkfs; do
        case $make_word in
            -*) make_options="$make_options $make_word" make_glue=' ' ;;
            *) make_options="$make_options$make_glue$make_word" make_glue=, ;;
        esac
    done
    IFS=$make_ifs
    # shellcheck disable=SC2086 # words on purpose
    make_said=$(backend_make "$device" $make_options 2>&1) && set +f && return 0
    set +f
    because "making it afresh: $make_said"
    return 1
}

# choose: `outcome` becomes how the blank root was come by.
choose() {
    outcome=fell-back
    if [ "$backend" != tmpfs ]; then
        parameter anicca.root && device_of "$value" || value=
        if [ -z "$value" ]; then
            because "the kernel command line names no root that can be found by name"
            return
        fi
        device=$value
        clock
        wait_from=$now
        if ! await "$device" 45; then
            because "$device has not appeared in 45 seconds"
            return
        fi
        clock
        waited=$((now - wait_from))
    fi
    hand_over
    case $? in
        0) outcome=blank && return ;;
        124)
            # It cannot be made afresh while it hangs, and a kernel with a hanging filesystem is no good host: seen
            # was that /nix could not be mounted either. Only when the next boot is sure not to hang.
            if is_ours && bounded 10 backend_spoil "$device" "$hung"; then
                say 3 "THE ROOT HANGS: rebooting, to make it afresh"
                sleep 1
                printf b > "$ANICCA_SYSRQ"
                sleep 5
            fi
            because "it could not be spoilt: the next boot will find it as it is"
            return
            ;;
    esac
    is_ours || return
    case $(dd if="$device" bs=256 count=1 status=none | tr -d '\000') in "$hung"*) because "$hung" ;; esac
    say 3 "the root on $device is made afresh: $(cat "$reasons")"
    bounded 90 make_afresh || return
    hand_over && outcome=made-afresh
}

# report: what was done, for /run/anicca/guard.json, the console and the journal.
report() {
    mounted "$root" || value='none none'
    [ "$outcome" = fell-back ] || device=$mounted_source
    [ "$backend" != tmpfs ] || device=
    report_type=${value%% *}
    quoted "${value#* }"
    report_options=$value
    quoted "$device"
    report_device=$value
    one_line "$backend"
    quoted "$value"
    report_backend=$value
    report_reasons=
    report_text=
    while read -r report_line; do
        quoted "$report_line"
        report_reasons=$report_reasons${report_reasons:+, }$value
        report_text="$report_text${report_text:+; }$report_line"
    done < "$reasons"
    as_seconds "$waited"
    report_waited=$value
    report_mount=0
    [ ! -e "$ANICCA_RUN/guard.mount" ] || read -r report_mount < "$ANICCA_RUN/guard.mount"
    as_seconds "$report_mount"
    report_mount=$value
    clock
    as_seconds $((now - started - waited))
    printf '{"root": "%s", "backend": %s, "device": %s, "outcome": "%s", "reasons": [%s], "options": %s, %s}\n' \
        "$report_type" "$report_backend" "$report_device" "$outcome" "$report_reasons" "$report_options" \
        "\"seconds\": $value, \"mount_seconds\": $report_mount, \"waited_seconds\": $report_waited" \
        > "$ANICCA_RUN/guard.json"
    case $outcome in
        blank) say "$([ -z "$report_text" ] && echo 5 || echo 3)" "the root is blank: $report_type, $value s. $report_text" ;;
        made-afresh) say 3 "THE ROOT WAS MADE AFRESH: $report_text" ;;
        fell-back) say 3 "THE ROOT IS IN MEMORY, the declared one could not be had: $report_text" ;;
    esac
}

[ -d "$ANICCA_RUN" ] || mkdir -p "$ANICCA_RUN"
: > "$reasons"
clock
started=$now waited=0 device='' outcome=fell-back
# While udev looks for disks; one call for all that the kernel would otherwise call for one by one.
modprobe -a -q f2fs ext4 erofs overlay 2> /dev/null &
parameter anicca.backend
backend=${value:-f2fs}
file=$lib/backend_$backend.sh
case $backend in *[!a-z0-9]*) file= ;; esac
if [ ! -e "$file" ]; then
    because "no such backend here: $backend"
    file=$lib/backend_tmpfs.sh
fi
parameter anicca.rootopts
declared=$value
parameter anicca.mkfs
mkfs=$value
# shellcheck source=backend_f2fs.sh
. "$file"
backend_options "$declared"
[ -s "$reasons" ] || choose
[ "$outcome" != fell-back ] || bounded 10 fall_back
report
exit 0

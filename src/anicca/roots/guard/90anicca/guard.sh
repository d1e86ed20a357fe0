#!/usr/bin/busybox sh
# The guard: leaves a blank root mounted on /sysroot, whatever state the last one was left in, and never fails.
# No fsck here: fsck.f2fs calls healthy roots broken and broken ones healthy. docs/internals/guard.md has the cases.
# Its shell is busybox's: most of what it calls is in the shell itself, and costs a fork.
# shellcheck shell=dash
# shellcheck disable=SC2317,SC3045 # `bounded` calls functions by name; busybox reads with a time limit
set -u
lib=${0%/*}
# shellcheck source=common.sh
. "$lib/common.sh"
root=$ANICCA_SYSROOT
reasons=$ANICCA_RUN/guard.reasons
seen=$ANICCA_RUN/guard.seen # what a program has just said: cheaper than a subshell
# What a volume may begin with, as a line:
hung="anicca: the filesystem hung at the boot before"
new="anicca: a new volume"

# because TEXT: notes why this is not an ordinary boot. A file, as most callers run in a bounded process.
because() {
    one_line "$1"
    printf '%s\n' "$value" >> "$reasons"
}

# bounded SECONDS COMMAND…: the command's status, or 124 when it has not ended by then. It runs in a process of its
# own and is left behind if need be: a process that hangs inside a filesystem cannot be killed. What it ends with
# comes through a pipe, numbered, so that one which comes too late is not taken for another's.
bounded() {
    bounded_limit=$1
    bounded_number=$((bounded_number + 1))
    shift
    (
        trap 'printf "%s %s\n" "$bounded_number" "$?" >&9' EXIT
        "$@"
    ) &
    while read -r -t "$bounded_limit" bounded_which bounded_status <&9; do
        [ "$bounded_which" != "$bounded_number" ] || return "$bounded_status"
    done
    return 124
}

# is_ours: whether the device may be made afresh. The PARTUUID has led here; the partition's name must agree.
# What has no partition's name (a logical volume) must carry our label, if it carries any.
is_ours() {
    [ -n "$device" ] || return 1
    device=$(readlink -f "$device")
    ours_name=
    while IFS='=' read -r ours_key ours_value; do
        [ "$ours_key" != PARTNAME ] || ours_name=$ours_value
    done < "$ANICCA_SYSFS/${device##*/}/uevent"
    case $ours_name in
        root | anicca-root) return 0 ;;
        ?*) because "$device is named \"$ours_name\", not root: not touched" && return 1 ;;
    esac
    ours_type=
    ours_said=$newline$(blkid -p -s LABEL -s TYPE -o export "$device")$newline
    case $ours_said in *"${newline}LABEL="*) ours_name=${ours_said#*"${newline}LABEL="} ;; esac
    case $ours_said in *"${newline}TYPE="*) ours_type=${ours_said#*"${newline}TYPE="} ;; esac
    ours_name=${ours_name%%"$newline"*} ours_type=${ours_type%%"$newline"*}
    case $ours_name in
        '' | anicca-root) ;;
        *) because "$device is labelled \"$ours_name\", not anicca-root: not touched" && return 1 ;;
    esac
    # Without any name of ours, whatever else it holds is somebody's.
    case $ours_name:$ours_type in
        anicca-root:* | ":$kind" | :) ;;
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
    { stat -c '%a %u %g' "$root" && getfattr -d "$root"; } > "$seen" 2>&1
    blank_lines=0
    while read -r blank_line; do
        [ "$blank_line" = '755 0 0' ] || blank_lines=1
    done < "$seen"
    [ "$blank_lines" != 0 ] || return 0
    because "not blank: / has mode, owner, group and extended attributes $(cat "$seen")"
    return 1
}

# can_write: some damage shows only here, as an error or for ever.
can_write() {
    {
        dd if=/dev/zero of="$root/.anicca-probe" bs=4096 count=1 conv=fsync status=none \
            && rm "$root/.anicca-probe"
    } > "$seen" 2>&1 && return
    because "cannot write: $(cat "$seen")"
    return 1
}

# attempt OPTIONS: mounts the root and sees for itself. Runs bounded.
attempt() {
    backend_reset "$device" || return
    clock
    attempt_from=$now
    if ! backend_mount "$device" "$root" "$1" > "$seen" 2>&1; then
        because "mount with $1: $(cat "$seen")"
        return 2
    fi
    clock
    printf '%s\n' $((now - attempt_from)) > "$ANICCA_RUN/guard.mount"
    mounted "$root" || value="nothing"
    if ! backend_in_force "$value"; then
        because "the mount does not keep the promise: $value"
        return 1
    fi
    is_blank && can_write && backend_sound "$device"
}

# hand_over: 0 with a blank root mounted, 1 if there is none, 124 if the filesystem hangs.
hand_over() {
    bounded "$patience" attempt "$options"
    over=$?
    if [ "$over" = 2 ]; then # perhaps it was one of the options
        over_options=$options
        backend_minimum
        if [ "$options" != "$over_options" ]; then
            bounded "$patience" attempt "$options"
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

# make_filesystem KIND DEVICE OPTION…
make_filesystem() {
    make_kind=$1
    make_device=$2
    shift 2
    case $make_kind in
        f2fs) mkfs.f2fs -q -f -l anicca-root "$@" "$make_device" ;;
        ext4) mkfs.ext4 -q -F -L anicca-root "$@" "$make_device" ;;
        xfs) mkfs.xfs -q -f -L anicca-root "$@" "$make_device" ;;
        btrfs) mkfs.btrfs -q -f -L anicca-root "$@" "$make_device" ;;
        nilfs2) mkfs.nilfs2 -q -f -L anicca-root "$@" "$make_device" ;;
        *) echo "nothing is known of a filesystem $make_kind" && return 1 ;;
    esac
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
        await "$device" 45
        choose_there=$?
        clock
        waited=$((now - wait_from))
        if [ "$choose_there" != 0 ]; then
            because "$device has not appeared in 45 seconds"
            return
        fi
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
    choose_made=made-afresh
    case $(dd if="$device" bs=256 count=1 status=none | tr -d '\000') in
        "$hung"*) because "$hung" ;;
        "$new"*) : > "$reasons" && choose_made=made ;;
    esac
    say 4 "the root on $device is made: $(cat "$reasons")"
    bounded 90 make_afresh || return
    hand_over && outcome=$choose_made
}

# report FILE: what was done, for /run/anicca/guard.json, the console and the journal.
report() {
    mounted "$root" || value='none none' mounted_source=
    case $outcome:$mounted_source in
        fell-back:*) ;;
        *:/dev/*) device=$mounted_source ;;
    esac
    [ "$backend" != tmpfs ] || device=
    report_type=${value%% *}
    quoted "${value#* }"
    report_options=$value
    quoted "$device"
    report_device=$value
    quoted "$backend"
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
    as_seconds "$taken"
    printf '{"root": "%s", "backend": %s, "device": %s, "outcome": "%s", "reasons": [%s], "options": %s, %s}\n' \
        "$report_type" "$report_backend" "$report_device" "$outcome" "$report_reasons" "$report_options" \
        "\"seconds\": $value, \"mount_seconds\": $report_mount, \"waited_seconds\": $report_waited" \
        > "$1"
    case $outcome in
        blank)
            report_level=5
            [ -z "$report_text" ] || report_level=3
            say "$report_level" "the root is blank: $report_type, $value s. $report_text"
            ;;
        made) say 5 "the root was made for the first time. $report_text" ;;
        made-afresh) say 3 "THE ROOT WAS MADE AFRESH: $report_text" ;;
        fell-back) say 3 "THE ROOT IS IN MEMORY, the declared one could not be had: $report_text" ;;
    esac
}

# after: what does not bear on this boot is looked at while it goes on.
after() {
    if is_ours && ! backend_after "$device"; then
        report "$ANICCA_RUN/guard.json.new"
        mv "$ANICCA_RUN/guard.json.new" "$ANICCA_RUN/guard.json"
    fi
}

[ -d "$ANICCA_RUN" ] || mkdir -p "$ANICCA_RUN"
: > "$reasons"
clock
started=$now waited=0 device='' outcome=fell-back
answers=$ANICCA_RUN/guard.answers bounded_number=0
[ -p "$answers" ] || mkfifo "$answers"
exec 9<> "$answers"
parameter anicca.rootopts
declared=$value
parameter anicca.mkfs
mkfs=$value
parameter anicca.backend
backend=${value:-f2fs} argument=
case $backend in *:*) argument=${backend#*:} backend=${backend%%:*} ;; esac
file=$lib/backend_$backend.sh
case $backend$argument in *[!a-z0-9]*) file= ;; esac
if [ ! -e "$file" ]; then
    because "no such backend here: $value"
    one_line "$backend"
    backend=$value
    file=$lib/backend_tmpfs.sh
fi
patience=60
# shellcheck source=backend_f2fs.sh
. "$file"
# While udev looks for disks; one call for all that the kernel would otherwise call for one by one.
if [ ! -d "$ANICCA_MODULES/$kind" ]; then
    /usr/sbin/modprobe -a -q "$kind" ext4 erofs overlay 2> /dev/null &
fi
backend_options "$declared"
[ -s "$reasons" ] || choose
[ "$outcome" != fell-back ] || bounded 10 fall_back
clock
taken=$((now - started - waited))
report "$ANICCA_RUN/guard.json"
if [ "$outcome" != fell-back ]; then
    # Where nothing is left of the initrd when the host is up, there is no later.
    case ${ANICCA_LATER:-yes} in no) after ;; *) after & ;; esac
fi
exit 0

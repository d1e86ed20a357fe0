# Shared by the scripts of the initrd; sourced, never run. docs/internals/boot.md has the whole story.
# shellcheck shell=sh
# shellcheck disable=SC2034 # variables here are for the scripts that source this file

# Tests set these; in the initrd nothing does.
: "${ANICCA_CMDLINE:=/proc/cmdline}" "${ANICCA_RUN:=/run/anicca}" "${ANICCA_SYSROOT:=/sysroot}"
: "${ANICCA_KMSG:=/dev/kmsg}" "${ANICCA_MOUNTINFO:=/proc/self/mountinfo}" "${ANICCA_UPTIME:=/proc/uptime}"
: "${ANICCA_SYSFS:=/sys/class/block}" "${ANICCA_BY:=/dev/disk}" "${ANICCA_SYSRQ:=/proc/sysrq-trigger}"
: "${ANICCA_UNITS:=/run/systemd/system}" "${ANICCA_MODULES:=/sys/module}"
: "${ANICCA_OSRELEASE:=/proc/sys/kernel/osrelease}" "${ANICCA_F2FS:=/sys/fs/f2fs}"
export LC_ALL=C
newline='
'
read -r cmdline < "$ANICCA_CMDLINE" || :

# say LEVEL TEXT: to the kernel's log, hence to the console (LEVEL 3 even with `quiet`) and to the host's journal.
say() {
    printf '<%s>anicca: %s\n' "$1" "$2" > "$ANICCA_KMSG" 2> /dev/null || true
}

# parameter NAME: `value` becomes what the kernel command line gives it (the last one wins); 1 if it is not there.
parameter() {
    value=
    parameter_found=1
    set -f
    for parameter_word in $cmdline; do
        case $parameter_word in
            "$1") parameter_found=0 value= ;;
            "$1="*) parameter_found=0 value=${parameter_word#*=} ;;
        esac
    done
    set +f
    return "$parameter_found"
}

# clock: `now` becomes the hundredths of a second since the kernel started.
clock() {
    read -r clock_seconds _ < "$ANICCA_UPTIME"
    now=$((${clock_seconds%.*} * 100 + 1${clock_seconds#*.} - 100))
}

# as_seconds HUNDREDTHS: `value` becomes the number with two decimals.
as_seconds() {
    value=$(($1 % 100))
    [ "$value" -gt 9 ] || value=0$value
    value=$(($1 / 100)).$value
}

# one_line TEXT: `value` becomes TEXT as printable ASCII on one line, at most 300 characters: fit for logs and JSON.
one_line() {
    value=$(printf %s "$1" | tr '\n\t' '  ' | tr -c ' -~' '?' | cut -c 1-300)
}

# quoted TEXT: `value` becomes the JSON string of a one-line TEXT.
quoted() {
    quoted_rest=
    case $1 in *[\"\\]*) quoted_rest=$1 ;; *) value=$1 ;; esac
    [ -z "$quoted_rest" ] || value=
    while [ -n "$quoted_rest" ]; do
        quoted_head=${quoted_rest%"${quoted_rest#?}"}
        quoted_rest=${quoted_rest#?}
        case $quoted_head in \" | \\) value=$value\\ ;; esac
        value=$value$quoted_head
    done
    value=\"$value\"
}

# device_of SPEC: `value` becomes the path under /dev that names the device SPEC: PARTUUID=…, UUID=… or a path.
device_of() {
    case $1 in
        PARTUUID=*[A-F]*) value=$ANICCA_BY/by-partuuid/$(printf %s "${1#*=}" | tr A-F a-f) ;;
        PARTUUID=?*) value=$ANICCA_BY/by-partuuid/${1#*=} ;;
        UUID=?*) value=$ANICCA_BY/by-uuid/${1#*=} ;;
        /dev/?*) value=$1 ;;
        *) return 1 ;;
    esac
}

# await PATH SECONDS: waits until udev has made the device known, no longer than that.
await() {
    [ -e "$1" ] || udevadm wait --timeout="$2" "$1" > /dev/null 2>&1
}

# mounted TARGET: `value` becomes "TYPE OPTIONS" of the filesystem mounted last on TARGET, `mounted_source` its device;
# 1 if there is none. The table is taken whole: `read` asks the kernel for each byte.
mounted() {
    mounted_table=$(cat "$ANICCA_MOUNTINFO")
    value=
    set -f
    mounted_ifs=$IFS
    IFS=$newline
    for mounted_line in $mounted_table; do
        case $mounted_line in *" $1 "*) ;; *) continue ;; esac
        IFS=' '
        # shellcheck disable=SC2086 # its fields
        mounted_fields "$1" $mounted_line
    done
    IFS=$mounted_ifs
    set +f
    [ -n "$value" ]
}

# mounted_fields TARGET FIELD…: takes a line if it is TARGET's: id, parent, device, root, mount point, flags, others, "-",
# type, source, options.
mounted_fields() {
    [ "$6" = "$1" ] || return
    mounted_flags=$7
    while [ "$1" != - ]; do
        shift
    done
    value="$2 $mounted_flags,$4"
    mounted_source=$3
}

# fall_back: a root in memory, over whatever is there.
fall_back() {
    mount -t tmpfs -o mode=0755,size=50% anicca-root "$ANICCA_SYSROOT"
}

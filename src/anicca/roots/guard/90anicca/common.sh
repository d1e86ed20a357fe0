# Shared by the scripts of the initrd; sourced, never run. docs/internals/boot.md has the whole story.
# shellcheck shell=sh
# shellcheck disable=SC2034 # variables here are for the scripts that source this file

# Tests set these; in the initrd nothing does.
: "${ANICCA_CMDLINE:=/proc/cmdline}" "${ANICCA_RUN:=/run/anicca}" "${ANICCA_SYSROOT:=/sysroot}"
: "${ANICCA_KMSG:=/dev/kmsg}" "${ANICCA_MOUNTINFO:=/proc/self/mountinfo}" "${ANICCA_UPTIME:=/proc/uptime}"
: "${ANICCA_SYSFS:=/sys/class/block}" "${ANICCA_BY:=/dev/disk}" "${ANICCA_SYSRQ:=/proc/sysrq-trigger}"
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
    value=$(printf %s "$1" | tr '\n\t' '  ' | tr -c '[:print:]' '?' | cut -c 1-300)
}

# quoted TEXT: `value` becomes the JSON string of a one-line TEXT.
quoted() {
    quoted_rest=$1
    value=
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

# bounded SECONDS COMMAND…: the command's status, or 124 when it has not ended by then. It runs in a process of its
# own and is left behind if need be: a process that hangs inside a filesystem cannot be killed, so `timeout` would
# wait for it for ever.
bounded() {
    bounded_limit=$1
    shift
    bounded_late=
    trap 'bounded_late=1' USR1
    "$@" &
    bounded_child=$!
    (
        trap 'kill "$bounded_sleep" 2> /dev/null; exit' TERM
        sleep "$bounded_limit" &
        bounded_sleep=$!
        wait "$bounded_sleep"
        kill -USR1 $$
    ) &
    bounded_watch=$!
    wait "$bounded_child"
    bounded_status=$?
    kill "$bounded_watch" 2> /dev/null
    trap '' USR1 # one that comes too late must not end us
    [ -z "$bounded_late" ] || bounded_status=124
    return "$bounded_status"
}

# mounted TARGET: `value` becomes "TYPE OPTIONS" of the filesystem mounted last on TARGET, `mounted_source` its device;
# 1 if there is none.
mounted() {
    value=
    while read -r _ _ _ _ mounted_point mounted_flags mounted_rest; do
        [ "$mounted_point" = "$1" ] || continue
        mounted_rest=${mounted_rest#*- }
        value="${mounted_rest%% *} $mounted_flags,${mounted_rest##* }"
        mounted_source=${mounted_rest#* }
        mounted_source=${mounted_source%% *}
    done < "$ANICCA_MOUNTINFO"
    [ -n "$value" ]
}

# fall_back: a root in memory, over whatever is there.
fall_back() {
    mount -t tmpfs -o mode=0755,size=50% anicca-root "$ANICCA_SYSROOT"
}

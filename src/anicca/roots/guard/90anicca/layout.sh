#!/bin/sh
# Lays the system out on the blank root: tree, seed, /usr, /etc, store, machine-id, persisted paths.
# In the initrd /nix is a link to /sysroot/nix, so store paths and links between them mean what they will mean later.
# Programs are started sparingly: each costs more than the work it is started for.
set -eu
# shellcheck source=common.sh
. "${0%/*}/common.sh"
root=$ANICCA_SYSROOT
run=$ANICCA_RUN
: "${ANICCA_NIX:=/nix}"
kept=$ANICCA_NIX/persist
marks=$kept/.anicca/parents

# stopped: what the boot stopped at, for stop.sh, the console and the journal.
stopped() {
    [ "$?" = 0 ] && return
    one_line "the layout stopped while $step ($(tail -n 3 "$run/layout.log"))"
    say 3 "NO HOST: $value"
    printf '%s\n' "$value" >> "$run/failed"
}

# begin STEP: what is being done, for whoever asks why it takes so long or what failed.
begin() {
    step=$1
    say 6 "$1"
}

# in_table WORD: `value` becomes the word as fstab and mountinfo have it.
in_table() {
    value=$1
    case $1 in *[[:blank:]\\]*) ;; *) return 0 ;; esac
    table_rest=$1
    value=
    while [ -n "$table_rest" ]; do
        table_head=${table_rest%"${table_rest#?}"}
        table_rest=${table_rest#?}
        case $table_head in
            ' ') table_head='\040' ;;
            [[:blank:]]) table_head='\011' ;;
            \\) table_head='\134' ;;
        esac
        value=$value$table_head
    done
}

# mount_all: mounts what `table` holds, in its order, with one program.
mount_all() {
    printf '%s' "$table" > "$run/table"
    mount --all --fstab "$run/table"
}

# images: mounts the tree and the seed. `how`: from the files themselves, or by loop devices (kernels before 6.12).
images() {
    table="$system/tree.erofs $run/meta erofs ro,nodev,$how 0 0
anicca-tree $run/tree overlay ro,nodev,metacopy=on,redirect_dir=on,lowerdir=$run/meta::$ANICCA_NIX/store 0 0
$system/seed.erofs $run/seed erofs ro,nodev,$how 0 0
"
    mount_all
}

# plain PATH: whether no part of PATH below the persist directory is a symbolic link; following one that a user
# has made would give that user's files, or root's, to whoever asked.
plain() {
    plain_rest=${1#/}/
    plain_at=$kept
    while [ -n "$plain_rest" ]; do
        plain_at=$plain_at/${plain_rest%%/*}
        plain_rest=${plain_rest#*/}
        [ ! -L "$plain_at" ] || return 1
    done
}

# parents PATH: makes the directories above the persisted PATH, owned as on the root. In the area each is marked: it
# holds what persists below it and nothing else, until it comes to persist itself (system/switching/area.py).
parents() {
    parents_rest=${1#/}
    parents_at=
    while [ "${parents_rest#*/}" != "$parents_rest" ]; do
        parents_at=$parents_at/${parents_rest%%/*}
        parents_rest=${parents_rest#*/}
        [ -d "$root$parents_at" ] || mkdir -m 0755 "$root$parents_at" || return 1
        [ ! -d "$kept$parents_at" ] || continue
        mkdir -p "$marks$parents_at" \
            && mkdir -m 0700 "$kept$parents_at" \
            && chown --reference="$root$parents_at" "$kept$parents_at" \
            && chmod --reference="$root$parents_at" "$kept$parents_at" || return 1
    done
}

# first KIND PATH: makes what is to be kept, once, from what the seed has there. Whole or not at all.
first() {
    rm -rf "$kept$2.anicca-new"
    if [ -e "$root$2" ]; then
        cp -a "$root$2" "$kept$2.anicca-new"
    elif [ "$1" = d ]; then
        mkdir -m 0700 "$kept$2.anicca-new"
    else
        (umask 077 && : > "$kept$2.anicca-new")
    fi && place "$2"
}

# place PATH: gives what was made beside PATH in the area its place.
place() {
    sync -f "$kept" && mv -T "$kept$1.anicca-new" "$kept$1"
}

# rest PATH: gives a directory that was a parent in the area what else the seed has in it; it is no parent then.
rest() {
    for rest_from in "$root$1"/* "$root$1"/.[!.]* "$root$1"/..?*; do
        rest_at=$1/${rest_from##*/}
        if [ -d "$marks$rest_at" ]; then
            rest "$rest_at" || return 1
        elif [ -e "$kept$rest_at" ] || [ -L "$kept$rest_at" ]; then
            continue
        elif [ -e "$rest_from" ] || [ -L "$rest_from" ]; then
            rm -rf "$kept$rest_at.anicca-new"
            cp -a "$rest_from" "$kept$rest_at.anicca-new" && place "$rest_at" || return 1
        fi
    done
    rm -rf "$marks$1"
}

# there KIND PATH: whether both ends of a persisted path are there, made if need be.
there() {
    if ! plain "$2"; then
        echo "a part of $kept$2 is a symbolic link" >&2
        return 1
    fi
    case $1 in
        d) [ -d "$kept$2" ] && [ -d "$root$2" ] && [ ! -d "$marks$2" ] && return ;;
        f) [ -f "$kept$2" ] && [ -f "$root$2" ] && return ;;
    esac
    parents "$2" || return 1
    [ -e "$kept$2" ] || first "$1" "$2" || return 1
    [ ! -d "$marks$2" ] || rest "$2" || return 1
    case $1 in
        d) [ -d "$root$2" ] || mkdir "$root$2" || return 1 ;;
        f) [ -f "$root$2" ] || : > "$root$2" || return 1 ;;
    esac
    # One that is of the other kind fails here.
    [ -d "$kept$2" ] && [ -d "$root$2" ] && [ "$1" = d ] && return
    [ -f "$kept$2" ] && [ -f "$root$2" ] && [ "$1" = f ]
}

# as_declared: gives each path on its input, "MODE UID GID PATH", that owner and mode (the owner first, as a change
# of it takes setuid away).
as_declared() {
    while read -r mode uid gid path; do
        chown -h "$uid:$gid" "$path" && chmod "$mode" "$path"
    done
}

# refuse PATH: notes what cannot be kept, and why.
refuse() {
    one_line "$(tail -n 1 "$run/layout.log")"
    say 3 "$1 IS NOT KEPT, nothing can be written there: $value"
    printf '%s\n' "$1" >> "$run/unkept"
}

# no_writing PATH: what is not kept must not look as if it were.
no_writing() {
    if [ -d "$root$1" ] || mkdir -p "$root$1"; then
        mount -t tmpfs -o ro,mode=0755 anicca-unkept "$root$1"
    else
        mount --bind -o ro "$root$1" "$root$1"
    fi || :
}

# keep_facts: a copy of what the guard said stays until somebody has acknowledged it (anicca guard acknowledge).
keep_facts() {
    read -r boot < /proc/sys/kernel/random/boot_id
    facts_at=$kept/.anicca/guard
    [ -d "$facts_at" ] || mkdir -m 0755 "$facts_at" || return
    printf '%s\n' "$facts" > "$facts_at/$boot.new" && mv "$facts_at/$boot.new" "$facts_at/$boot.json"
}

exec 2> "$run/layout.log"
begin "starting"
trap stopped EXIT
if [ ! -e "$run/guard.json" ]; then
    fall_back
    echo '{"root": "tmpfs", "outcome": "fell-back", "reasons": ["the guard ended without a word"]}' > "$run/guard.json"
    say 3 "THE ROOT IS IN MEMORY: the guard ended without a word"
fi

begin "reading anicca.system from the kernel command line"
parameter anicca.system
system=$value
begin "looking for $system"
[ -d "$system/layout" ]

begin "mounting the tree"
mkdir -p "$run/meta" "$run/tree" "$run/seed" "$ANICCA_UNITS/nix.mount.d" "$ANICCA_UNITS/nix-store.mount.d"
how=X-mount.noloop
images || { how=loop && images; }

begin "laying out the seed"
cp -a "$run/seed/." "$root/"
umount "$run/seed"

begin "making the machine-id"
[ -d "$kept" ] || mkdir -m 0700 "$kept"
[ -d "$kept/.anicca" ] || mkdir -m 0700 "$kept/.anicca"
id=
[ ! -e "$kept/.anicca/machine-id" ] || read -r id < "$kept/.anicca/machine-id" || :
if [ "${#id}" != 32 ]; then
    id=$(tr -d - < /proc/sys/kernel/random/uuid)
    printf '%s\n' "$id" > "$kept/.anicca/machine-id.new"
    sync "$kept/.anicca/machine-id.new" # before rename: a power cut must leave no id or a whole one
    mv "$kept/.anicca/machine-id.new" "$kept/.anicca/machine-id"
fi
printf '%s\n' "$id" > "$run/machine-id"

begin "mounting /usr, /etc and /nix/store"
table="$run/tree/usr $root/usr none bind 0 0
$system/etc.erofs $root/etc erofs ro,nodev,$how 0 0
$root/nix/store $root/nix/store none bind,ro 0 0
"
mount_all

begin "persisting paths"
table=
declared=
set --
while read -r kind mode uid gid path; do
    if ! there "$kind" "$path"; then
        refuse "$path"
        continue
    fi
    declared="$declared$mode $uid $gid $kept$path$newline"
    set -- "$@" "$kept$path"
    in_table "$kept$path"
    table="$table$value"
    in_table "$root$path"
    table="$table $value none bind 0 0$newline"
done < "$system/layout/persist"
if [ $# != 0 ]; then
    [ "$(stat -c '%04a %u %g %n' -- "$@")$newline" = "$declared" ] || printf %s "$declared" | as_declared
    mount_all || :
    # All of them, or it is said: a program that writes to a path that is not kept loses what it writes.
    points=$newline
    while read -r _ _ _ _ point _; do
        points=$points$point$newline
    done < "$ANICCA_MOUNTINFO"
    for source in "$@"; do
        in_table "$root${source#"$kept"}"
        case $points in *"$newline$value$newline"*) ;; *) refuse "${source#"$kept"}" ;; esac
    done
fi
if [ -e "$run/unkept" ]; then
    while read -r path; do
        no_writing "$path"
    done < "$run/unkept"
fi

begin "keeping what the guard said, if it was out of the ordinary"
read -r facts < "$run/guard.json" || :
case $facts in
    *'"reasons": []'* | *'"a soft reboot:'*) ;;
    *) keep_facts || say 3 "what the guard said could not be kept" ;;
esac

begin "ending"
# Nothing can unmount what systemd itself runs from: it is left to the very end, when it is made read-only.
for unit in nix nix-store; do
    printf '[Unit]\nDefaultDependencies=no\n' > "$ANICCA_UNITS/$unit.mount.d/anicca.conf"
done
ln -sfn "$system" "$run/system"

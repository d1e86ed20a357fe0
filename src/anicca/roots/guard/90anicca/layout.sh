#!/bin/sh
# Lays the system out on the blank root: tree, /usr, /etc, seed, store, persisted paths, machine-id.
# In the initrd /nix is a link to /sysroot/nix, so store paths and links between them mean what they will mean later.
set -eu
# shellcheck source=common.sh
. "${0%/*}/common.sh"
root=$ANICCA_SYSROOT
run=$ANICCA_RUN
: "${ANICCA_NIX:=/nix}"
kept=$ANICCA_NIX/persist

# stopped: what the boot stopped at, for stop.sh, the console and the journal.
stopped() {
    [ "$?" = 0 ] && return
    one_line "the layout stopped while $step ($(tail -n 3 "$run/layout.log"))"
    say 3 "NO HOST: $value"
    printf '%s\n' "$value" >> "$run/failed"
}

# image FILE TARGET: mounts an EROFS image read-only. Straight from the file where the kernel can (6.12 and later).
image() {
    mount -t erofs -o ro,nodev,X-mount.noloop "$1" "$2" 2> /dev/null || mount -t erofs -o ro,nodev,loop "$1" "$2"
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

# parents PATH: makes the directories above the persisted PATH, owned as on the root.
parents() {
    parents_rest=${1#/}
    parents_at=
    while [ "${parents_rest#*/}" != "$parents_rest" ]; do
        parents_at=$parents_at/${parents_rest%%/*}
        parents_rest=${parents_rest#*/}
        [ -d "$root$parents_at" ] || mkdir -m 0755 "$root$parents_at" || return 1
        [ ! -d "$kept$parents_at" ] || continue
        mkdir -m 0700 "$kept$parents_at" \
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
    fi && owned "$2.anicca-new" "$3" "$4" "$5" && sync -f "$kept" && mv -T "$kept$2.anicca-new" "$kept$2"
}

# owned PATH MODE UID GID: owner before mode, as a change of owner takes setuid away.
owned() {
    # shellcheck disable=SC2046 # three words
    set -- "$@" $(stat -c '%a %u %g' "$kept$1")
    [ "$3:$4" = "$6:$7" ] || chown -h "$3:$4" "$kept$1" || return 1
    [ "$3:$4:$((0$2))" = "$6:$7:$((0$5))" ] || chmod "$2" "$kept$1"
}

# keep KIND MODE UID GID PATH: binds one persisted path into the root.
keep() {
    if ! plain "$5"; then
        echo "a part of $kept$5 is a symbolic link" >&2
        return 1
    fi
    parents "$5" || return 1
    case $1 in
        d)
            [ -d "$kept$5" ] || first "$1" "$5" "$2" "$3" "$4" || return 1
            [ -d "$root$5" ] || mkdir "$root$5" || return 1
            ;;
        f)
            [ -f "$kept$5" ] || first "$1" "$5" "$2" "$3" "$4" || return 1
            [ -f "$root$5" ] || : > "$root$5" || return 1
            ;;
    esac
    owned "$5" "$2" "$3" "$4" && mount --bind "$kept$5" "$root$5"
}

# refuse PATH: what cannot be kept must not look as if it were: nothing can be written there.
refuse() {
    say 3 "$1 IS NOT KEPT, nothing can be written there: $(tail -n 1 "$run/layout.log")"
    printf '%s\n' "$1" >> "$run/unkept"
    if [ -d "$root$1" ] || mkdir -p "$root$1"; then
        mount -t tmpfs -o ro,mode=0755 anicca-refused "$root$1"
    else
        mount --bind -o ro "$root$1" "$root$1"
    fi
}

mkdir -p "$run"
exec 2> "$run/layout.log"
step="starting"
trap stopped EXIT
if [ ! -e "$run/guard.json" ]; then
    fall_back
    echo '{"root": "tmpfs", "outcome": "fell-back", "reasons": ["the guard ended without a word"]}' > "$run/guard.json"
    say 3 "THE ROOT IS IN MEMORY: the guard ended without a word"
fi

step="reading anicca.system from the kernel command line"
parameter anicca.system
system=$value
step="looking for $system"
[ -d "$system/layout" ]

step="mounting the tree"
mkdir -p "$run/meta" "$run/tree" "$run/seed"
image "$system/tree.erofs" "$run/meta"
mount -t overlay -o "ro,nodev,metacopy=on,redirect_dir=on,lowerdir=$run/meta::$ANICCA_NIX/store" anicca-tree "$run/tree"

step="laying out the seed"
image "$system/seed.erofs" "$run/seed"
cp -a "$run/seed/." "$root/"
umount "$run/seed"

step="mounting /usr, /etc and /nix/store"
mount --bind "$run/tree/usr" "$root/usr"
image "$system/etc.erofs" "$root/etc"
mount --bind -o ro "$root/nix/store" "$root/nix/store"

step="making the machine-id"
[ -d "$kept" ] || mkdir -m 0700 "$kept"
[ -d "$kept/.anicca" ] || mkdir -m 0700 "$kept/.anicca"
if [ ! -s "$kept/.anicca/machine-id" ]; then
    tr -d - < /proc/sys/kernel/random/uuid > "$kept/.anicca/machine-id.new"
    chmod 0444 "$kept/.anicca/machine-id.new"
    sync "$kept/.anicca/machine-id.new" # before rename: a power cut must leave no id or a whole one
    mv "$kept/.anicca/machine-id.new" "$kept/.anicca/machine-id"
fi
cp "$kept/.anicca/machine-id" "$run/machine-id"

while read -r kind mode uid gid path; do
    step="persisting $path"
    keep "$kind" "$mode" "$uid" "$gid" "$path" || refuse "$path"
done < "$system/layout/persist"

step="ending"
ln -sfn "$system" "$run/system"

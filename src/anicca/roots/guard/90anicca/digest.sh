#!/bin/sh
# The digest of the root as it is handed over: type, mode, owner, size, content, links, xattrs and ACLs of each path.
# Times are left out. `anicca.digest=root` asks for the root alone, which is quick; /usr takes as long as reading it.
# By BLAKE2, which needs no help of the processor to be quick: emulated ones have none for SHA-256.
# The root is bound elsewhere first, so that what other mounts hide is seen, and they are not.
set -eu
# shellcheck source=common.sh
. "${0%/*}/common.sh"

# part DIRECTORY: `value` becomes its digest.
part() {
    value=$(tar --create --sort=name --mtime=@0 --numeric-owner --format=posix --one-file-system \
        --pax-option=delete=atime,delete=ctime,delete=mtime \
        --xattrs --xattrs-include='*' --acls -C "$1" . | b2sum -l 256)
    value=${value%% *}
}

mkdir -p "$ANICCA_RUN/bare"
mount --bind "$ANICCA_SYSROOT" "$ANICCA_RUN/bare"
part "$ANICCA_RUN/bare"
lines="root $value"
umount "$ANICCA_RUN/bare"
rmdir "$ANICCA_RUN/bare"
parameter anicca.digest
if [ "$value" != root ]; then
    for name in usr etc; do
        part "$ANICCA_SYSROOT/$name"
        lines="$lines$newline$name $value"
    done
    value=$(printf '%s\n' "$lines" | b2sum -l 256)
    lines="$lines${newline}all ${value%% *}"
fi
printf '%s\n' "$lines" > "$ANICCA_RUN/digest"
while read -r line; do
    say 5 "digest $line"
done < "$ANICCA_RUN/digest"

# Sourced by the scripts beside it: installs Debian packages by name and a virtual environment, both only where missing.
# shellcheck shell=sh disable=SC2034
# Sets `python`, the environment's interpreter.

# A link to a script, from a directory on PATH, will do.
top=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd)
environment=${ANICCA_VENV:-$top/.venv}
python=$environment/bin/python

# What running the tool takes: build in a sandbox, fetch with apt's keys, boot in QEMU, reach it.
run_packages='apt bubblewrap busybox-static ca-certificates debian-archive-keyring dpkg openssh-client ovmf
python3 python3-venv qemu-system-x86 util-linux'
# What the tests take besides: real peers and oracles.
test_packages='acl attr chromium chromium-driver dosfstools e2fsprogs erofs-utils f2fs-tools fdisk file fish git libcap2-bin
mmdebstrap mount mtools nix-bin openssh-server shellcheck xz-utils zsh zstd'

say() {
    printf '%s\n' "setup: $*" >&2
}

# need_packages NAME…: installs the packages that are missing.
need_packages() {
    missing=
    for name in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$name" 2> /dev/null) in
            installed) ;;
            *) missing="$missing $name" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say "these Debian packages are missing:$missing"
        say "run this as root, or first: apt-get install --no-install-recommends$missing"
        return 1
    fi
    say "installing Debian packages:$missing"
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of names
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
        > "$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "apt-get failed; all it said is in $log"
        return 1
    fi
    rm -f "$log"
}

# has_environment NAME: whether the virtual environment has what requirements/NAME.txt asks for (the development set
# has all that the other has), and its interpreter is still of the version that it was made with.
has_environment() {
    version=$(readlink -f -- "$python") || return 1
    version=${version##*/}
    case $version in python3.*) [ -d "$environment/lib/$version" ] || return 1 ;; esac
    cmp -s "$top/requirements/$1.txt" "$environment/anicca-$1.txt" \
        || { [ "$1" = run ] && cmp -s "$top/requirements/dev.txt" "$environment/anicca-dev.txt"; }
}

# need_environment NAME: a virtual environment with exactly requirements/NAME.txt, checked by hash.
need_environment() {
    ! has_environment "$1" || return 0
    wanted=$top/requirements/$1.txt
    say "making the virtual environment $environment (requirements/$1.txt)"
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        say "$(python3 --version) is too old: Python 3.11 or later is needed, as Debian 12 has it"
        return 1
    fi
    # One that was interrupted has no pip yet; one of another Python than today's has none for today's.
    if ! "$python" -m pip --version > /dev/null 2>&1; then
        rm -f "$environment/anicca-run.txt" "$environment/anicca-dev.txt"
        python3 -m venv "$environment" || return 1
    fi
    if ! "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$wanted"; then
        say 'pip could not install the Python packages; what it says is above, and the next run goes on from there'
        return 1
    fi
    # The checkout itself, without building it.
    site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$top/src" > "$site/anicca-checkout.pth"
    cp "$wanted" "$environment/anicca-$1.txt"
}

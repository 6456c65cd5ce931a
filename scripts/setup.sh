#!/bin/sh
# Installs what is missing for building, running and testing. Installs nothing the second time.
#
#   scripts/setup.sh           what `make suite` needs
#   scripts/setup.sh test      and what `make test` needs as well
#   scripts/setup.sh bench     and the peers that `make bench` compares with
#
# Asks before it uses sudo, unless it is root or YES=1. Never installs a kernel.
set -eu

# program:package, for Debian and its kin
wanted="qemu-system-x86_64:qemu-system-x86 gcc:gcc apache2:apache2-bin"
case "${1:-suite}" in
    suite) ;;
    test) wanted="$wanted sudo:sudo mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs qemu-img:qemu-utils vips:libvips-tools gm:graphicsmagick identify:imagemagick chromium:chromium chromedriver:chromium-driver
        rt-app:rt-app qemu-ga:qemu-guest-agent dropbear:dropbear-bin ssh-keyscan:openssh-client python3:python3 pdflatex:texlive-latex-base pgfplots.sty:texlive-pictures booktabs.sty:texlive-latex-recommended
        munged:munge slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client" ;;
    bench) wanted="$wanted vips:libvips-tools gm:graphicsmagick identify:imagemagick
        cyclictest:rt-tests rt-app:rt-app wrk:wrk nginx:nginx-light" ;;
    *) echo "setup.sh: unknown set \`$1\`; use suite, test or bench" >&2; exit 2 ;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing=
have() {
    case "$1" in
        *.sty) command -v kpsewhich >/dev/null 2>&1 && kpsewhich "$1" >/dev/null ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}
for pair in $wanted; do
    have "${pair%%:*}" || missing="$missing ${pair##*:}"
done
if ! command -v cargo >/dev/null 2>&1; then
    echo "setup.sh: cargo is missing: install the Rust toolchain with rustup, then try again" >&2
    exit 3
fi

# oha is in no distribution. It does not build without its default features, which are TLS.
install_oha() {
    PATH=$PATH:target/tools/bin command -v oha >/dev/null 2>&1 && return
    echo "Installing: oha (cargo install, into target/tools)" >&2
    cargo install --quiet --locked --version "^1.16" --root target/tools oha
}
# What reads our files in tests. A machine without pip goes without: the tests say so.
install_python() {
    into=target/tools/python
    [ ! -d "$into/hdrh" ] || [ ! -d "$into/matplotlib" ] || return 0
    python3 -m pip --version >/dev/null 2>&1 || return 0
    echo "Installing: hdrhistogram, matplotlib (pip, into $into)" >&2
    said=$(python3 -m pip install --quiet --upgrade --target "$into" hdrhistogram matplotlib 2>&1) ||
        echo "setup.sh: not installed, tests that need them are skipped: $said" >&2
}
cd "$(dirname "$0")/.."
set_name=${1:-suite}
beyond_packages() {
    case "$set_name" in
        bench) install_oha ;;
        test) install_python ;;
    esac
}
if [ -z "$missing" ]; then
    beyond_packages
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup.sh: this is not a Debian-like system; install by hand what Debian calls:$missing" >&2
    exit 3
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    if [ "${YES:-}" != 1 ]; then
        printf 'Install%s with sudo? [y/N] ' "$missing" >&2
        read -r answer || answer=
        case "$answer" in [yY]*) ;; *) echo "setup.sh: not installed:$missing" >&2; exit 3 ;; esac
    fi
    as_root=sudo
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@" $missing >"$log" 2>&1
}
echo "Installing:$missing" >&2
$as_root apt-get update -qq >"$log" 2>&1 || cat "$log" >&2
# qemu-utils from a later release than the rest of QEMU conflicts with it: bring both to one release.
if ! install; then
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    if ! dpkg -s qemu-utils >/dev/null 2>&1 || ! install --allow-downgrades "qemu-utils/$release"; then
        cat "$log" >&2
        exit 1
    fi
fi
beyond_packages

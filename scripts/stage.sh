#!/bin/sh
# Lays the built programs out below a prefix, as a package or a tarball has them. Programs find each
# other by this layout (orchestrator/src/host/programs.rs).
#
#   scripts/stage.sh BIN PREFIX     BIN: the folder of the built programs; PREFIX: a new folder
set -eu
cd "$(dirname "$0")/.."
from=$1
prefix=$2
umask 022
share=$prefix/share

mkdir -p "$prefix/bin" "$prefix/libexec/rt-vm-bench"
for program in orchestrator rtload webload cgi-rotate rtplan reports; do
    install -m 755 "$from/$program" "$prefix/bin/"
done
# What no user starts.
install -m 755 "$from/guest-agent" "$prefix/libexec/rt-vm-bench/"
for static in "$from"/*-static; do
    [ ! -f "$static" ] || install -m 755 "$static" "$prefix/libexec/rt-vm-bench/"
done
strip --strip-unneeded "$prefix"/bin/* "$prefix"/libexec/rt-vm-bench/*

for program in orchestrator rtload webload rtplan reports; do
    run=$prefix/bin/$program
    "$run" man --all "$share/man/man1"
    for shell in bash:bash-completion/completions/ zsh:zsh/vendor-completions/_ \
        fish:fish/vendor_completions.d/; do
        file=$share/${shell#*:}$program
        [ "${shell%%:*}" != fish ] || file=$file.fish
        mkdir -p "${file%/*}"
        "$run" completions "${shell%%:*}" >"$file"
    done
done
all=$(mktemp)
trap 'rm -f "$all"' EXIT
# A CGI program is not made larger for a page of its own: it is loaded once a request.
COLUMNS=80 "$prefix/bin/cgi-rotate" --help >"$all"
{
    printf '.TH cgi-rotate 1\n.SH NAME\ncgi\\-rotate \\- rotate a picture, by hand or as a CGI program\n'
    printf '.SH DESCRIPTION\n.nf\n'
    sed "s/\\\\/\\\\e/g; s/-/\\\\-/g; s/^[.']/\\\\\&&/" "$all"
    printf '.fi\n'
} >"$share/man/man1/cgi-rotate.1"
gzip -9n "$share"/man/man1/*.1

mkdir -p "$share/rt-vm-bench/experiments" "$share/doc/rt-vm-bench/docs/figures"
install -m 644 experiments/*.toml "$share/rt-vm-bench/experiments/"
install -m 644 README.md CHANGELOG.md "$share/doc/rt-vm-bench/"
install -m 644 docs/*.md docs/*.json "$share/doc/rt-vm-bench/docs/"
install -m 644 docs/figures/* "$share/doc/rt-vm-bench/docs/figures/"
# Whose code is in the programs, and under which licence.
cargo tree --locked --offline --workspace --edges normal --prefix none --format '{p} {l}' >"$all"
sed -i '/ (\//d; s/ (\*)$//' "$all"
sort -u "$all" >"$share/doc/rt-vm-bench/crates.txt"

#!/bin/sh
# Makes a tarball of programs without shared libraries, for hosts without a toolchain and of any
# distribution, and prints its path. Unpack it anywhere; bin/ is all that has to be in PATH.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
target=$(rustc -vV | sed -n 's/^host: //p')
machine=${target%%-*}
name=rt-vm-bench-$version-$machine
RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --workspace --bins --quiet --locked \
    --target "$target" --target-dir target/static
built=target/static/$target/release
scripts/is-static.sh "$built"/orchestrator "$built"/rtload "$built"/webload "$built"/cgi-rotate \
    "$built"/rtplan "$built"/reports "$built"/guest-agent

mkdir -p target/dist
work=$(mktemp -d target/dist/.new-XXXXXX)
trap 'rm -rf "$work"' EXIT
scripts/stage.sh "$built" "$work/$name"
install -m 644 LICENSE packaging/reservations.toml "$work/$name/"
times=@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
file=target/dist/$name.tar.gz
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="$times" \
    -cf "$work/tarball" "$name"
gzip -9n "$work/tarball"
mv "$work/tarball.gz" "$file"
echo "$file"

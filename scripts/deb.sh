#!/bin/sh
# Makes the Debian package of the built programs, and prints its path. Needs no root.
#
#   scripts/deb.sh [FOLDER [BIN]]    FOLDER: where it is put [default: target/deb]; BIN: the folder of
#                                    the built programs [default: target/release]
#
# DEBFULLNAME and DEBEMAIL, as Debian's own tools read them, name the maintainer. The times in it are
# those of the last commit (or SOURCE_DATE_EPOCH): the same programs make the same package.
set -eu
cd "$(dirname "$0")/.."
out=${1:-target/deb}
built=${2:-target/release}
umask 022
for tool in dpkg-deb dpkg-shlibdeps strip; do
    command -v $tool >/dev/null || {
        echo "deb.sh: $tool is missing; install dpkg-dev and binutils" >&2
        exit 3
    }
done
name=rt-vm-bench
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
architecture=$(dpkg --print-architecture)
maintainer="${DEBFULLNAME:-Builder of rt-vm-bench} <${DEBEMAIL:-rt-vm-bench@$(hostname -f 2>/dev/null || hostname)}>"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

mkdir -p "$out"
work=$(mktemp -d "$out/.new-XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
root=$work/root
scripts/stage.sh "$built" "$root/usr"

units=$root/usr/lib/systemd/system
mkdir -p "$units" "$root/etc/$name" "$root/DEBIAN"
"$root/usr/bin/orchestrator" hook print unit --program /usr/bin/orchestrator \
    >"$units/rt-vm-bench-reserve@.service"
install -m 644 packaging/reservations.toml "$root/etc/$name/"
doc=$root/usr/share/doc/$name
install -m 644 packaging/debian/copyright "$doc/"
rm "$doc/CHANGELOG.md"
gzip -9nc CHANGELOG.md >"$doc/NEWS.gz"
gzip -9nc >"$doc/changelog.gz" <<END
$name ($version) unstable; urgency=medium

  * What changed is in NEWS.gz.

 -- $maintainer  $(date -uRd "@$SOURCE_DATE_EPOCH")
END

# The libraries, and which release of each, that the programs are linked with.
mkdir -p "$work/debian"
printf 'Source: %s\n\nPackage: %s\nArchitecture: any\n' $name $name >"$work/debian/control"
# No pipes here: a shell does not tell that their left side failed.
(cd "$work" && dpkg-shlibdeps -O root/usr/bin/* root/usr/libexec/$name/guest-agent >substvars)
depends=$(sed -n 's/^shlibs:Depends=//p' "$work/substvars")
if [ -z "$depends" ]; then
    echo "deb.sh: dpkg-shlibdeps found no library that the programs depend on" >&2
    exit 1
fi
for script in postinst prerm postrm; do
    install -m 755 "packaging/debian/$script" "$root/DEBIAN/"
done
echo "/etc/$name/reservations.toml" >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f) >"$work/files"
LC_ALL=C sort -o "$work/files" "$work/files"
(cd "$root" && xargs -d '\n' md5sum) <"$work/files" >"$root/DEBIAN/md5sums"
du -sk --apparent-size "$root/etc" "$root/usr" >"$work/sizes"
cat >"$root/DEBIAN/control" <<END
Package: $name
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(awk '{ sum += $1 } END { print sum }' "$work/sizes")
Depends: $depends
Recommends: qemu-system-x86, apache2-bin
Suggests: libvirt-clients, libvirt-daemon-system
Section: utils
Priority: optional
Description: lab bench for real-time virtual machines
 Measures which CPU reservation (budget, period) a virtual machine needs, which
 mechanism enforces it, and whether the host delivered it: with QEMU guests,
 SCHED_DEADLINE and other reservations, and periodic real-time load. Reserves
 CPU for running virtual machines of libvirt, also whenever one starts.
END
find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
file=$out/${name}_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$file" >/dev/null
echo "$file"

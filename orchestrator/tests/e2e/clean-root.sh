# Installs the package in a Debian that has never seen this repository, uses and removes it there
# (package-life.sh); nothing of that Debian is kept.
#   clean-root.sh DEB
set -eu
here=$(cd "$(dirname "$0")" && pwd)
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
  awk -v release="$release" '$2 == release && $3 == "main" { print $1; exit }')
exec mmdebstrap --quiet --variant=apt \
  --customize-hook='echo "127.0.0.1 localhost" > "$1/etc/hosts"' \
  --customize-hook="copy-in $1 $here/installed.sh $here/package-life.sh /root" \
  --customize-hook='chroot "$1" sh /root/package-life.sh' \
  "$release" /dev/null "deb $mirror $release main"

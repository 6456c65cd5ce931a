# The package from its installation by apt to its end; in the folder of the package and installed.sh.
# Says what a removal kept (the configuration) and what was left after all was purged:
#   case removed | kept N | left N
set -eu
cd "$(dirname "$0")"
log=$(mktemp)
trap 'status=$?; [ $status = 0 ] || cat "$log" >&2' EXIT
# Where the system's own files are; caches and homes are their users'.
of_ours() { find /etc /usr /var/lib /lib -name '*rt-vm-bench*' -not -path '/usr/local/*' | sort -u; }

apt-get install -qq -y --no-install-recommends ./rt-vm-bench_*.deb > "$log" 2>&1
dpkg --verify rt-vm-bench
bash ./installed.sh /usr
echo '# mine' >> /etc/rt-vm-bench/reservations.toml
dpkg --remove rt-vm-bench >> "$log" 2>&1
kept=$(of_ours | grep -c '^/etc/rt-vm-bench')
[ "$(tail -1 /etc/rt-vm-bench/reservations.toml)" = '# mine' ]
[ ! -e /usr/bin/orchestrator ]
dpkg --purge rt-vm-bench >> "$log" 2>&1
of_ours >> "$log"
echo "case removed | kept $kept | left $(of_ours | wc -l)"

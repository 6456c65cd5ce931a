# Reservations that come with libvirt's domains, on a host that is nobody's: the package, its hook and
# its unit, real libvirt and systemd. Prints a line for each case, which package.rs reads.
#   configured.sh all | reboot     `reboot` only sets up what the second boot (`after`) looks at
set -u
# The lab's own copy of the bench is in /usr/local/bin and is not meant.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
work=$(mktemp -d)
. ./domains.sh

# What a vCPU has: `runtime/period` in ns under SCHED_DEADLINE, else its policy.
# policy_of DOMAIN [VCPU]
policy_of() {
  chrt -p "$(vcpu_of "$(pid_of "$1")" "${2:-0}")" 2> /dev/null | awk '
    /scheduling policy/ { policy = $NF }
    /runtime\/deadline\/period/ { split($NF, of, "/"); policy = of[1] "/" of[3] }
    END { print policy }'
}
# The same once it is reserved, within 20 s of a start.
reserved() {
  for _ in $(seq 100); do
    case $(policy_of "$@") in */*) break;; esac
    sleep 0.2
  done
  policy_of "$@"
}
unit_of() { systemd-escape --template=rt-vm-bench-reserve@.service -- "$1"; }
main_of() { systemctl show -P MainPID "$(unit_of "$1")"; }
# The share of a CPU that a vCPU has in three seconds.
share() {
  clock() { awk '{ print $1 }' "/proc/$(vcpu_of "$(pid_of "$1")")/schedstat"; }
  before=$(clock "$1"); sleep 3; after=$(clock "$1")
  awk -v ns=$((after - before)) 'BEGIN { printf "%.3f", ns / 3e9 }'
}

if [ "$1" = after ]; then
  echo "case autostarted | policy $(reserved free) | unit $(systemctl is-active "$(unit_of free)")"
  exit
fi

dpkg -i rt-vm-bench_*.deb > $work/log 2>&1; unpacked=$?
[ $unpacked = 0 ] || cat $work/log
echo "case package | exit $unpacked | state $(dpkg-query -W -f '${db:Status-Status}' rt-vm-bench)"
cat > /etc/rt-vm-bench/reservations.toml <<'TOML'
[domain.free]
reservation = "10ms/50ms"
[domain."my vm-1"]
vcpu = { 1 = "5ms/50ms" }
TOML
orchestrator hook install > $work/log 2>&1; installed=$?
systemctl restart libvirtd
echo "case hook | exit $installed | mode $(stat -c %a /etc/libvirt/hooks/qemu.d/rt-vm-bench)"
define free ""
virsh start free > /dev/null
echo "case started | policy $(reserved free) | share $(sleep 3; share free)"
if [ "$1" = reboot ]; then
  virsh autostart free > /dev/null
  sync
  exit
fi

for n in $(seq 10); do
  virsh destroy free > /dev/null
  virsh start free > /dev/null
  echo "case restart-$n | policy $(reserved free)"
done
virsh reset free > /dev/null; sleep 1
echo "case reset | policy $(policy_of free)"

before="$(main_of free) $(policy_of free)"
systemctl restart libvirtd; sleep 3
after="$(main_of free) $(policy_of free)"
[ "$before" = "$after" ] && same=same || same="$before,$after"
echo "case libvirtd-restarted | state $same"

# Each vCPU its own; the name is one that systemd escapes.
define "my vm-1" "" 2
virsh start "my vm-1" > /dev/null
echo "case by-vcpu | second $(reserved "my vm-1" 1) | first $(policy_of "my vm-1" 0) | free $(policy_of free)"

# One that nobody configured.
define other ""
virsh start other > /dev/null; sleep 4
echo "case other | policy $(policy_of other) | unit $(systemctl show -P Result "$(unit_of other)") | said $(journalctl -q -u "$(unit_of other)" | grep -c 'nothing to reserve')"

kill -KILL "$(main_of free)"; sleep 4
killed=$(policy_of free)
for _ in $(seq 60); do case $(policy_of free) in */*) break;; esac; sleep 0.5; done
echo "case killed | meanwhile $killed | policy $(policy_of free)"

virsh destroy "my vm-1" > /dev/null; virsh destroy other > /dev/null; sleep 4
echo "case ended | unit $(systemctl is-active "$(unit_of "my vm-1")") | left $(orchestrator restore | tr ' ' _)"

# The package goes, and with it the hook and the reservation; the domain stays.
dpkg -P rt-vm-bench > $work/log 2>&1 || cat $work/log
hooks=$(ls /etc/libvirt/hooks | wc -l)
echo "case purged | policy $(policy_of free) | domain $(virsh domstate free | head -1) | hooks $hooks | groups $(cat /sys/fs/cgroup/machine.slice/cpuset.cpus.partition 2>/dev/null)"
journalctl -q -u 'rt-vm-bench-reserve@*' | tail -30 | sed 's/^/  journal: /'

# A libvirt domain with QEMU's guest agent, measured as a suite says, in the Debian lab host. Prints lines
# that libvirt.rs reads: `case NAME | KEY VALUE | …`.
set -u
images=/var/lib/libvirt/images
cp vmlinuz initrd $images/
chmod 644 $images/vmlinuz $images/initrd
define() {
  cat > domain.xml <<XML
<domain type='kvm'>
  <name>$1</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
  <cputune><vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/></cputune>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>$images/vmlinuz</kernel>
    <initrd>$images/initrd</initrd><cmdline>console=ttyS0 rdinit=/start</cmdline></os>
  <features><acpi/></features><cpu mode='host-passthrough'/>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>$2
    <serial type='file'><source path='/var/log/libvirt/qemu/$1-console.log'/></serial></devices>
</domain>
XML
  virsh define domain.xml > /dev/null || exit 1
}
ask() { virsh -q qemu-agent-command --timeout 5 shop "$1" 2> /dev/null; }

define shop "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
define mute ""
said() { orchestrator run $1.toml --out $work 2>&1 | tail -1; }
work=$(mktemp -d)
echo "case stopped | $(said domain)"
virsh start shop > /dev/null
begun=$(date +%s)
until ask '{"execute":"guest-ping"}' > /dev/null; do
  if [ $(($(date +%s) - begun)) -gt 300 ]; then tail -20 /var/log/libvirt/qemu/shop-console.log; exit 1; fi
  sleep 2
done
echo "case booted | seconds $(($(date +%s) - begun))"
echo "case nobody | $(said nobody)"
virsh start mute > /dev/null
echo "case mute | $(said mute)"
virsh destroy mute > /dev/null

# Everything of the domain that a measurement may change.
state() {
  pid=$(cat /run/libvirt/qemu/shop.pid)
  for thread in /proc/$pid/task/*; do
    case $(cat $thread/comm) in worker*|iou-*) continue;; esac
    echo "${thread##*/} $(cat $thread/cgroup) $(chrt -p ${thread##*/} | tr '\n' ' ') $(taskset -pc ${thread##*/})"
  done
  cat /proc/sys/kernel/sched_rt_runtime_us
  virsh dumpxml shop
}
# What is in its temporary folder.
left() {
  pid=$(ask '{"execute":"guest-exec","arguments":{"path":"/bin/ls","arg":["/tmp"],"capture-output":true}}' | sed 's/[^0-9]//g')
  sleep 2
  ask "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$pid}}"
}
state > before
orchestrator run domain.toml --out $OUT > run.out 2> run.log; exit=$?
state > after
same=differs; diff before after > diff && same=same
echo "case measured | exit $exit | state $same | left $(left)"
[ $same = same ] || sed 's/^/  diff: /' diff
sed 's/^/  said: /' run.log
virsh destroy shop > /dev/null
exit 0

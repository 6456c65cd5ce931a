# What `orchestrator reserve` does to domains of real libvirt, pinned and not. Runs as root on a host
# with libvirt that is nobody's; prints a line for each case, which libvirt.rs reads:
#   case NAME | share S | state same|differs | placement P | exit N
# With `short` as its argument only the cases that kernels differ in.
set -u
work=$(mktemp -d)
export RTVM_STATE_DIR=$work/state
groups=/sys/fs/cgroup

. ./domains.sh

# Everything of a domain's threads that a reservation may change, and of the groups that they are in.
state() {
  pid=$(pid_of $1)
  for thread in /proc/$pid/task/*; do
    id=${thread##*/}
    # Workers come and go.
    case $(cat $thread/comm) in worker*|iou-*) continue;; esac
    echo "$id $(cat $thread/cgroup) $(chrt -p $id | tr '\n' ' ') $(taskset -pc $id)"
  done
  scope=$(dirname $(dirname $groups$(sed s/^0::// /proc/$(vcpu_of $pid)/cgroup)))
  for group in $groups $groups/machine.slice $scope $scope/libvirt $scope/libvirt/vcpu0; do
    for file in cpu.max cpu.weight cpuset.cpus.effective cpuset.cpus.partition cgroup.type memory.max; do
      echo "$group/$file $(cat $group/$file 2>/dev/null)"
    done
  done
  cat /proc/sys/kernel/sched_rt_runtime_us
}

# Waits until the log of a reservation says that it is held, or it has ended.
held() {
  for _ in $(seq 100); do
    grep -q 'held until' $1 && return 0
    kill -0 $2 2> /dev/null || return 1
    sleep 0.1
  done
}

# case NAME DOMAIN ARGUMENTS: reserves, watches for some seconds, releases.
case_of() {
  name=$1 domain=$2; shift 2
  state $domain > $work/before
  orchestrator reserve --domain $domain --watch --out $work/$name "$@" > $work/out 2> $work/log &
  reserve=$!
  if held $work/log $reserve; then
    # A rival on the pinned domain's CPU.
    if [ -n "${HOG:-}" ]; then taskset -c 1 $HOG orchestrator helper hog & hog=$!; fi
    sleep ${LENGTH:-4}
    if [ -n "${HOG:-}" ]; then kill $hog; fi
    kill -INT $reserve
  fi
  wait $reserve; exit=$?
  state $domain > $work/after
  same=differs; diff $work/before $work/after > $work/diff && same=same
  share=$(sed -n 's/^in all: .*KVM) \([0-9.]*\).*/\1/p' $work/out | head -1)
  placement=$(sed -n 's/^placement \([a-z-]*\):.*/\1/p' $work/log)
  echo "case $name | share ${share:--} | state $same | placement ${placement:--} | exit $exit"
  [ $same = same ] || sed 's/^/  diff: /' $work/diff
  [ $exit = 0 ] || grep -v '^thread' $work/log | sed 's/^/  said: /'
  if [ -n "${PROVE:-}" ]; then
    reports supply $work/$name --format text > $work/proof 2>&1; sed 's/^/  proof: /' $work/proof
  fi
  unset HOG LENGTH PROVE
}

define pinned "<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>"
define free ""

# Until the firmware has given way to the spinning sector.
begin() { virsh start $1 > /dev/null; sleep 5; }

begin pinned
orchestrator reserve --domain pinned --reservation 10ms/50ms --dry-run | sed 's/^/  dry: /'
PROVE=1 case_of pinned-deadline pinned --reservation 10ms/50ms
case_of pinned-timer pinned --reservation 10ms/50ms --mechanism timer-server
[ "${1:-}" = short ] && exit
LENGTH=2 case_of pinned-reclaim pinned --reservation 10ms/50ms --mechanism deadline-reclaim
LENGTH=1 case_of pinned-global pinned --reservation 10ms/50ms --placement global
LENGTH=1 case_of pinned-partition pinned --reservation 10ms/50ms --placement partition
LENGTH=1 case_of pinned-rt-group pinned --reservation 10ms/50ms --mechanism rt-group
case_of pinned-quota pinned --reservation 10ms/50ms --mechanism cfs-quota
HOG="chrt -f 50" PROVE=1 case_of pinned-off pinned --reservation 10ms/50ms --placement admission-off
HOG="chrt -f 50" LENGTH=2 case_of pinned-fifo pinned --mechanism fifo-above
HOG="chrt -o 0" case_of pinned-weight pinned --reservation 10ms/50ms --mechanism cfs-weight
HOG="chrt -o 0" case_of pinned-both pinned --reservation 10ms/50ms --mechanism cfs-quota-weight

# The cpuset controller goes away under our hands, and then the machine.
state pinned > $work/before
orchestrator reserve --domain pinned --reservation 10ms/50ms > $work/out 2> $work/log & reserve=$!
held $work/log $reserve
for group in $groups/machine.slice/*.scope/libvirt $groups/machine.slice/*.scope $groups/machine.slice $groups; do
  echo -cpuset > $group/cgroup.subtree_control
done
sleep 2.5; kill -INT $reserve; wait $reserve; exit=$?
for group in $groups $groups/machine.slice $groups/machine.slice/*.scope; do
  echo +cpuset > $group/cgroup.subtree_control
done
policy=$(chrt -p $(vcpu_of $(pid_of pinned)) | sed -n 's/.*policy: //p' | tr -d '\n')
warned=$(grep -c 'somebody else changed the host' $work/log)
echo "case controller-gone | warned $warned | policy $policy | panics $(grep -c panicked $work/log) | exit $exit"
grep -v '^thread' $work/log | sed 's/^/  said: /'

orchestrator reserve --domain pinned --reservation 10ms/50ms > $work/out 2> $work/log & reserve=$!
held $work/log $reserve
virsh destroy pinned > /dev/null
wait $reserve; exit=$?
left=$(orchestrator restore)
echo "case destroyed | ended $(grep -c 'machine has ended' $work/log) | panics $(grep -c panicked $work/log) | errors $(grep -c '^error' $work/log) | exit $exit | $left"
grep -v '^thread' $work/log | sed 's/^/  said: /'

begin free
PROVE=1 case_of free-deadline free --reservation 10ms/50ms
case_of free-timer free --reservation 10ms/50ms --mechanism timer-server
LENGTH=2 case_of free-reclaim free --reservation 10ms/50ms --mechanism deadline-reclaim
PROVE=1 case_of free-quota free --reservation 10ms/50ms --mechanism cfs-quota
LENGTH=2 case_of free-slice free --reservation 10ms/50ms --placement slice

# A service of systemd's that is alone in its group, and started anew under the reservation.
qemu="qemu-system-x86_64 -name s,debug-threads=on -accel kvm -m 16 -display none -nodefaults -drive file=$image,format=raw,if=ide,snapshot=on"
systemd-run -q --unit lab-vm -p Restart=always -p RestartSec=0.1 $qemu; sleep 1.5
pid=$(systemctl show -P MainPID lab-vm)
orchestrator reserve --pid $pid --reservation 10ms/50ms > $work/out 2> $work/log & reserve=$!
held $work/log $reserve
systemctl restart lab-vm
wait $reserve; exit=$?
echo "case restarted | ended $(grep -c 'machine has ended' $work/log) | panics $(grep -c panicked $work/log) | errors $(grep -c '^error' $work/log) | service $(systemctl is-active lab-vm) | exit $exit | $(orchestrator restore)"
systemctl stop lab-vm
virsh destroy free > /dev/null
virsh undefine free > /dev/null; virsh undefine pinned > /dev/null

# Slurm as clusters have it, with `proctrack/cgroup` and `task/cgroup`, and this project's Prolog,
# Epilog and HealthCheckProgram, on a host with systemd and cgroup v2 that is nobody's. Prints a line
# for each case, which slurm_cgroup.rs reads:
#   case NAME | state S | jobs N | left L
# $1: an archive of Slurm's packages, to be unpacked into /; fleet: this project's folder of that name.
set -u
say() { echo "$*" >&2; }
tar -C / -xf "$1"
ldconfig
# Debian's packages have them under these names, and links that are no part of a package.
for daemon in slurmctld slurmd; do ln -sf /usr/sbin/$daemon-wlm /usr/sbin/$daemon; done
ln -sf "$(command -v orchestrator)" /usr/bin/orchestrator
host=$(cat /proc/sys/kernel/hostname)
work=/var/lib/slurm-trial
mkdir -p $work/state $work/spool $work/log $work/fleets /etc/slurm/rt-vm-bench
chmod 755 $work
cp fleet/*.sh /etc/slurm/rt-vm-bench/
chmod 755 /etc/slurm/rt-vm-bench/*.sh
head -c 64 /dev/urandom > $work/munge.key
chmod 600 $work/munge.key
/usr/sbin/munged --num-threads=2 --key-file=$work/munge.key --socket=$work/munge.socket \
  --pid-file=$work/munge.pid --seed-file=$work/munge.seed --log-file=$work/munge.log \
  < /dev/null > /dev/null 2>&1

# begin CORES LINES: the cluster of this one host, with ConstrainCores=CORES and these lines more.
begin() {
  {
    cat << END
ClusterName=trial
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPidFile=$work/ctld.pid
SlurmdPidFile=$work/slurmd.pid
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldLogFile=$work/log/ctld.log
SlurmdLogFile=$work/log/slurmd.log
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
SelectType=select/linear
ReturnToService=2
KillWait=20
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc)
PartitionName=lab Nodes=ALL Default=YES OverSubscribe=EXCLUSIVE State=UP
END
    printf '%s\n' "$2"
  } > /etc/slurm/slurm.conf
  printf 'CgroupPlugin=cgroup/v2\nConstrainCores=%s\n' "$1" > /etc/slurm/cgroup.conf
  rm -rf $work/state/*
  systemd-run --quiet --collect --unit=trial-ctld --property=Type=exec /usr/sbin/slurmctld -D -c
  systemd-run --quiet --collect --unit=trial-slurmd --property=Type=exec \
    --property=Delegate=yes --property=KillMode=process /usr/sbin/slurmd -D
  for _ in $(seq 120); do
    [ "$(sinfo -h -o %T 2> /dev/null)" = idle ] && return 0
    sleep 0.5
  done
  say "the node is not idle: $(sinfo 2>&1)"
  tail -n 30 $work/log/*.log >&2
  return 1
}

end() {
  systemctl stop trial-slurmd trial-ctld
}

# What a job left behind on the host, in words; nothing where all is as before.
left() {
  orchestrator restore 2>&1 | grep -v 'nothing to restore'
  ls -d /sys/fs/cgroup/rtvm-* 2> /dev/null
  pgrep -l 'rtload|rtvm|orchestrator' | grep -v "^$$ "
}

# submit SUITE: its fleet's folder.
submit() {
  orchestrator submit "$1" --hosts "$host" --out $work/fleets --scratch $work/scratch
}

# field NAME: of the fleet's only job.
field() {
  orchestrator status "$fleet" --summary json | sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | tail -n 1
}

over() {
  for _ in $(seq 240); do
    case $(field state) in done | failed | lacking | killed | lost) return 0 ;; esac
    sleep 0.5
  done
}

# told NAME: the outcome of a fleet of one job.
told() {
  over
  orchestrator fetch "$fleet" > /dev/null 2>&1
  jobs=$(cat "$fleet"/results/*/*/*/*/rep-*/jobs.csv "$fleet"/results/*/*/*/rep-*/jobs.csv 2> /dev/null | grep -c '^')
  sleep 1
  echo "case $1 | state $(field state) | jobs $jobs | left $(left | paste -s -d ',' -)"
  tail -n 15 "$fleet"/log/*.log >&2
}

scripts='Prolog=/etc/slurm/rt-vm-bench/prolog.sh
Epilog=/etc/slurm/rt-vm-bench/epilog.sh
PrologFlags=Alloc'

begin no "$scripts" || exit 1
fleet=$(submit short.toml)
told cgroup

fleet=$(submit long.toml)
for _ in $(seq 120); do
  ls -d /sys/fs/cgroup/rtvm-* > /dev/null 2>&1 && break
  sleep 0.5
done
scancel "$(squeue -h -o %A | head -n 1)"
told cancelled

fleet=$(submit long.toml)
for _ in $(seq 120); do
  ls -d /sys/fs/cgroup/rtvm-* > /dev/null 2>&1 && break
  sleep 0.5
done
scancel --full --signal=KILL "$(squeue -h -o %A | head -n 1)"
told killed
end

begin yes "$scripts" || exit 1
fleet=$(submit short.toml)
told constrained
end

# A host that can no longer make reservations is drained, with the reason.
mv /usr/bin/orchestrator /usr/bin/orchestrator-away
begin no 'HealthCheckProgram=/etc/slurm/rt-vm-bench/healthcheck.sh
HealthCheckInterval=1
HealthCheckNodeState=ANY' || true
for _ in $(seq 60); do
  case $(sinfo -h -o %T) in *drain*) break ;; esac
  sleep 0.5
done
echo "case unhealthy | state $(sinfo -h -o %T) | jobs 0 | left $(sinfo -h -o %E | cut -c 1-60)"
mv /usr/bin/orchestrator-away /usr/bin/orchestrator
end

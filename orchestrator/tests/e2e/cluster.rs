//! A Slurm cluster of this test's own: munged, slurmctld and two slurmd on loopback, with their own
//! folder, key and ports. All of it ends with the value, also when a test fails.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

pub struct Cluster {
    pub dir: tempfile::TempDir,
    daemons: Vec<(&'static str, Child)>,
}

/// Where Debian's packages put daemons.
const SBIN: &str = "/usr/sbin";

/// What the cluster needs and this host lacks.
pub fn lacks() -> Option<String> {
    let programs = ["munged", "slurmctld", "slurmd"].map(|own| Path::new(SBIN).join(own));
    let clients = ["sinfo", "sbatch", "squeue", "srun"].map(|own| Path::new("/usr/bin").join(own));
    let missing = programs.iter().chain(&clients).find(|own| !own.exists())?;
    Some(format!("{} is not installed", missing.display()))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until `what` is so; the machine may be slow, so the limit is far away.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(90), "waited 90 s: {what}");
        sleep(Duration::from_millis(100));
    }
}

impl Cluster {
    /// Starts it, with nodes n1 and n2; `more` are lines of slurm.conf.
    pub fn start(more: &str) -> Self {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let mut own = Self { dir, daemons: Vec::new() };
        fs::set_permissions(own.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["state", "log", "spool-n1", "spool-n2", "fleets", "scratch"] {
            fs::create_dir(own.path(name)).unwrap();
        }
        let key: Vec<u8> = (0..64).map(|_| fastrand::u8(..)).collect();
        fs::write(own.path("munge-key"), key).unwrap();
        fs::set_permissions(own.path("munge-key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(own.path("slurm.conf"), own.conf(more)).unwrap();
        fs::write(own.path("cgroup.conf"), "CgroupPlugin=cgroup/v1\nConstrainCores=no\n").unwrap();
        own.daemon(
            "munged",
            &["-F", "--num-threads=2"],
            &["key-file", "socket", "pid-file", "seed-file", "log-file"],
        );
        until("munged answers", || own.path("munge-socket").exists());
        own.daemon("slurmctld", &["-D"], &[]);
        for node in ["n1", "n2"] {
            own.daemon("slurmd", &["-D", "-N", node], &[]);
        }
        until("both nodes are idle", || {
            own.says("sinfo", &["-h", "-N", "-o", "%N %T"]) == "n1 idle\nn2 idle\n"
        });
        own
    }

    fn conf(&self, more: &str) -> String {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let (host, dir) = (host.trim(), self.dir.path().display());
        let [ctld, one, two] = [free_port(), free_port(), free_port()];
        format!(
            "ClusterName=bench\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
             AuthType=auth/munge\nAuthInfo=socket={dir}/munge-socket\nCredType=cred/munge\n\
             CommunicationParameters=NoInAddrAny,NoCtldInAddrAny\n\
             SlurmctldPort={ctld}\nSlurmctldPidFile={dir}/ctld.pid\nSlurmdPidFile={dir}/%n.pid\n\
             StateSaveLocation={dir}/state\nSlurmdSpoolDir={dir}/spool-%n\n\
             SlurmctldLogFile={dir}/log/ctld.log\nSlurmdLogFile={dir}/log/%n.log\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/linear\n\
             SchedulerType=sched/builtin\nSchedulerParameters=sched_min_interval=100000\n\
             ReturnToService=2\nSlurmdTimeout=6\nKillWait=10\nMpiDefault=none\n\
             JobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\n\
             JobCompType=jobcomp/none\n{more}\
             NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={one} CPUs=1\n\
             NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={two} CPUs=1\n\
             PartitionName=lab Nodes=ALL Default=YES OverSubscribe=EXCLUSIVE State=UP\n"
        )
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// A program that belongs to this cluster.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.path("slurm.conf"));
        command.env("RTVM_STATE_DIR", self.path("bench-state"));
        command
    }

    fn daemon(&mut self, name: &'static str, arguments: &[&str], files: &[&str]) {
        let mut command = self.command(Path::new(SBIN).join(name));
        command.args(arguments);
        for file in files {
            let place = self.path(&format!("munge-{}", file.trim_end_matches("-file")));
            command.arg(format!("--{file}={}", place.display()));
        }
        let log =
            fs::File::create(self.path(&format!("log/{name}-{}.out", self.daemons.len()))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons.push((name, command.spawn().unwrap()));
    }

    /// What a client of Slurm prints.
    pub fn says(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The node's daemon dies, and what it has started with it, as when the host's power fails.
    pub fn kill_node(&mut self, node: usize) {
        // munged and slurmctld come first.
        let (_, daemon) = &mut self.daemons[1 + node];
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Processes that this cluster's daemons and jobs are, by its path in their environment.
    pub fn processes(&self) -> Vec<Pid> {
        let mark = format!("SLURM_CONF={}\0", self.path("slurm.conf").display());
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|own| own.file_name().to_str()?.parse::<i32>().ok());
        let own = std::process::id() as i32;
        let is_ours = |id: &i32| {
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            *id != own && environment.windows(mark.len()).any(|part| part == mark.as_bytes())
        };
        ids.filter(is_ours).map(Pid::from_raw).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _jobs = self.says("scancel", &["--user=root"]);
        sleep(Duration::from_millis(300));
        for (_, daemon) in self.daemons.iter_mut().rev() {
            let _gone = kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM);
        }
        let begun = Instant::now();
        for (_, daemon) in &mut self.daemons {
            while daemon.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(5) {
                sleep(Duration::from_millis(50));
            }
            let _gone = daemon.kill();
            let _status = daemon.wait();
        }
        // slurmstepd and jobs are in sessions of their own.
        for id in self.processes() {
            let _gone = kill(id, Signal::SIGKILL);
        }
    }
}

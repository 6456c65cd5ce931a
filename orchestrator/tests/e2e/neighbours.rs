//! Who else runs on this host leaves the measured CPU for a run, and comes back.

use std::{
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use kernel::{
    affinity,
    cpuset::{Cpusets, HOUSEKEEPING, Version},
    procfs::Proc,
};

use crate::{
    mechanisms::{Trial, delivers},
    support::{orchestrator, stderr, stdout, turn},
};

/// A process that uses all the CPU that it gets.
struct Busy(Child);

impl Busy {
    fn on(cpus: &[u32]) -> Self {
        // In a session of its own, as somebody else's is: where the kernel groups threads by session
        // (sched_autogroup_enabled), it would be billed to those of the trial otherwise.
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
        let busy = Self(command.spawn().unwrap());
        affinity::set(busy.pid(), cpus).unwrap();
        busy
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn group(&self) -> String {
        let text = Proc::default().text(&format!("{}/cgroup", self.pid())).unwrap();
        let line = text.lines().find(|line| line.contains("cpuset")).unwrap_or(&text);
        line.to_owned()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn busy_neighbours_do_not_change_what_a_weight_gives() {
    const TEST: &str = "busy_neighbours_do_not_change_what_a_weight_gives";
    let Some(_turn) = turn(TEST) else { return };
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    let all = affinity::parse_list(&online).unwrap();
    let measured = *all.last().unwrap();
    // One of them cannot but run on the measured CPU, as long as it is not moved.
    let busy = [Busy::on(&all), Busy::on(&[measured])];
    let before = busy.each_ref().map(|one| (one.group(), affinity::get(one.pid()).unwrap()));
    let mut away = Vec::new();
    let trial = |mechanism: &str| {
        let state = tempfile::tempdir().unwrap();
        let mut child = orchestrator(state.path())
            .args(["helper", "trial", "--cpu", &measured.to_string(), "--duration", "1s"])
            .args(["--mechanism", mechanism])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let give_up = Instant::now() + Duration::from_secs(10);
        while child.try_wait().unwrap().is_none() && Instant::now() < give_up {
            away.push(busy.each_ref().map(Busy::group));
            sleep(Duration::from_millis(50));
        }
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        Trial::read(&stdout(&output))
    };
    delivers(("cfs-weight", 0.48, 0.64), trial);
    let after = busy.each_ref().map(|one| (one.group(), affinity::get(one.pid()).unwrap()));
    assert_eq!(after, before, "put back");
    let mounts = Proc::default().text("mounts").unwrap();
    if Cpusets::find(&mounts).unwrap().version == Version::V1 {
        let gone = |groups: &[String; 2]| groups.iter().all(|own| own.contains(HOUSEKEEPING));
        assert!(away.iter().any(gone), "never away: {away:?}");
    }
}

//! The stall sentinel: it sees what stalls the CPU, and does not take its own reservation for that,
//! on this host and on one that is emulated.

use std::{path::Path, sync::atomic::AtomicBool, time::Duration};

use model::manifest::SentinelFacts;
use orchestrator::guest::{
    Accelerator, Contents, Guest, GuestSpec, Plain, Status, default_cache, ensure_kernel, find_qemu,
};
use serde::Deserialize;

use crate::support::{HostState, orchestrator, sibling, stderr, stdout, turn};

/// What `orchestrator helper watch` prints.
#[derive(Debug, Deserialize)]
struct Said {
    stalled_ns: u64,
    sentinel: SentinelFacts,
}

impl Said {
    fn stalled(&self) -> f64 {
        self.stalled_ns as f64 / self.sentinel.watched_ns as f64
    }

    fn held_back(&self) -> f64 {
        self.sentinel.held_back_ns as f64 / self.sentinel.watched_ns as f64
    }
}

fn watch(arguments: &[&str]) -> Said {
    let state = tempfile::tempdir().unwrap();
    let output =
        orchestrator(state.path()).args(["helper", "watch"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn the_sentinel_tells_stalls_from_its_own_throttling() {
    let Some(_turn) = turn("the_sentinel_tells_stalls_from_its_own_throttling") else { return };
    let before = HostState::now();
    let good = watch(&[]);
    eprintln!("as in a run: {good:?}");
    assert!(good.held_back() < 0.05, "{good:?}");
    assert!(good.sentinel.look_ns > 0 && good.sentinel.looks > 500, "{good:?}");

    // A budget below the cost of a look: it is late half of the time, and says why.
    let starved = watch(&["--most", "2us"]);
    eprintln!("starved: {starved:?}");
    assert!(starved.held_back() > 0.2, "{starved:?}");
    assert!(starved.stalled() < good.stalled() + starved.held_back() / 5.0, "{starved:?}");

    // It cannot run for 100 ms, and not for want of budget.
    let frozen = watch(&["--freeze", "100ms"]);
    eprintln!("frozen: {frozen:?}");
    assert!(frozen.stalled_ns >= 95_000_000, "{frozen:?}");
    assert!(frozen.held_back() < 0.05, "{frozen:?}");
    before.is_back();
}

// Every lab host of a test run has a sentinel in it.
#[test]
#[ignore = "part of the campaign `make lab-test`"]
fn on_an_emulated_host_the_sentinel_keeps_within_its_budget() {
    const TEST: &str = "on_an_emulated_host_the_sentinel_keeps_within_its_budget";
    let Some(_turn) = turn(TEST) else { return };
    let Ok(qemu) = find_qemu() else {
        eprintln!("SKIPPED: {TEST}: QEMU is not installed");
        return;
    };
    let cache = default_cache().unwrap();
    let logs = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_orchestrator"));
    let spec = GuestSpec {
        name: "slow-host".into(),
        vcpus: 2,
        // Without, the clock source is the HPET, and reading it the most of a look.
        append: "tsc=reliable".into(),
        contents: Contents::default().with_program(program),
        agent: Some(sibling("guest-agent")),
        logs: logs.path().to_owned(),
        kernel: ensure_kernel(&cache).unwrap(),
        cache,
        ..GuestSpec::default()
    };
    let stop = AtomicBool::new(false);
    let limit = Duration::from_secs(60);
    let guest = Guest::launch(&Plain, &qemu, &spec, Accelerator::Tcg, limit, &stop).unwrap();
    let watch = |arguments: &[&str]| -> Said {
        let command = [&["/bin/orchestrator", "helper", "watch"], arguments].concat();
        let output = guest.run(&command, limit, &stop).unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status, Status::Code(0), "{complaints}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let reserved = watch(&["--hog", "28ms/50ms", "--duration", "2s"]);
    eprintln!("emulated: {reserved:?}");
    assert!(reserved.sentinel.budget_ns > 25_000, "{reserved:?}");
    // The budget of a real host is too small here: it must not be taken for a stalled machine. Above
    // 1 % held back a run says that stalls are not known.
    // What the machine stalls adds to either: the least of several is compared.
    let starved: Vec<Said> = (0..3)
        .map(|_| watch(&["--hog", "28ms/50ms", "--duration", "2s", "--most", "25us"]))
        .inspect(|said| eprintln!("emulated, starved: {said:?}"))
        .collect();
    let least = |shares: &dyn Fn(&Said) -> f64| starved.iter().map(shares).fold(1.0, f64::min);
    let (held_back, stalled) = (least(&Said::held_back), least(&Said::stalled));
    assert!(held_back > 0.1, "{starved:?}");
    assert!(reserved.held_back() < held_back / 4.0, "{reserved:?} {starved:?}");
    assert!(stalled < reserved.stalled() + 0.05, "{starved:?}");
    guest.shutdown().unwrap();
}

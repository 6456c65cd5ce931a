//! What network traffic costs, and who pays: a made-up trace of a web service in a VM.

use std::fs;

use model::{
    manifest::{ThreadFacts, TraceFacts},
    sample::{self, Ended, Request, Softirq, SoftirqName, Supply},
};
use reports::{
    Results,
    claims::{self, Verdict},
    grid::Format,
    network,
};

use crate::made_up::{MadeUp, record};

const SUITE: &str = r#"
name = "made-up-network"
[[experiment]]
name = "small"
where = "guest"
web = { clients = 1, rate = "10/s", query = "width=10&height=10" }
reservation = { budget = "28ms", period = "50ms" }
emulator = { budget = "5ms", period = "100ms" }
[[experiment]]
name = "large"
where = "guest"
web = { clients = 1, rate = "10/s", query = "width=100&height=100" }
reservation = { budget = "28ms", period = "50ms" }
emulator = { budget = "5ms", period = "100ms" }
[[experiment]]
name = "large-shared"
where = "guest"
web = { clients = 1, rate = "10/s", query = "width=100&height=100" }
reservation = { budget = "28ms", period = "50ms" }
emulator = "shared"
"#;

const MS: u64 = 1_000_000;
const ZERO: u64 = 6_000 * MS;
/// From one request to the next.
const EVERY: u64 = 100 * MS;

/// What a request takes, in µs, and the bytes of its reply.
#[derive(Clone, Copy)]
struct Cost {
    vcpu: u64,
    main_loop: u64,
    worker: u64,
    /// In the main loop's time, and in nobody's on the measured CPU and the other one.
    softirq: (u64, u64, u64),
    bytes: u64,
}

const SMALL: Cost =
    Cost { vcpu: 4_000, main_loop: 500, worker: 0, softirq: (100, 0, 50), bytes: 300 };
const LARGE: Cost =
    Cost { vcpu: 6_000, main_loop: 2_000, worker: 10, softirq: (400, 10, 200), bytes: 30_000 };

/// A hundred requests of each experiment, all of whose VM's threads but the workers run on CPU 1.
fn folder(costs: [Cost; 3]) -> MadeUp {
    let mut folder = MadeUp::empty(SUITE);
    let names = ["small", "large", "large-shared"];
    for (name, cost) in names.into_iter().zip(costs) {
        let place = folder.path().join(name).join("rep-000");
        fs::create_dir_all(&place).unwrap();
        let (mut requests, mut supply, mut softirqs) = (Vec::new(), Vec::new(), Vec::new());
        // Before the first request something else was done, which is not accounted.
        supply.push(run("vcpu0", 1, ZERO - 50 * MS, 20_000));
        for n in 0..100 {
            let at = ZERO + n * EVERY;
            requests.push(request(name, n, at, cost.bytes));
            supply.push(run("vcpu0", 1, at, cost.vcpu));
            supply.push(run("main-loop", 1, at + 20 * MS, cost.main_loop));
            supply.push(run("worker", 1, at + 30 * MS, cost.worker));
            let (inside, here, there) = cost.softirq;
            softirqs.push(softirq(Some("main-loop"), 1, at + 20 * MS, inside));
            softirqs.push(softirq(None, 1, at + 40 * MS, here));
            softirqs.push(softirq(None, 0, at + 40 * MS, there));
        }
        sample::write_csv(&place.join("requests.csv"), &requests).unwrap();
        sample::write_csv(&place.join("supply.csv"), &supply).unwrap();
        sample::write_csv(&place.join("softirq.csv"), &softirqs).unwrap();
        let mut own = record(name, 0);
        own.facts.trace = Some(trace(&supply));
        folder.manifest.repetitions.push(own);
    }
    folder.manifest.host.hrtick_dl = Some(false);
    folder.save();
    folder
}

fn run(thread: &str, cpu: u32, start_ns: u64, length_us: u64) -> Supply {
    Supply {
        start_ns,
        end_ns: start_ns + length_us * 1000,
        thread: thread.to_owned(),
        cpu: Some(cpu),
        woken_ns: Some(start_ns),
        ended: Some(Ended::Slept),
        vm: Some("vm".to_owned()),
    }
}

fn softirq(thread: Option<&str>, cpu: u32, start_ns: u64, length_us: u64) -> Softirq {
    Softirq {
        start_ns,
        end_ns: start_ns + length_us * 1000,
        cpu,
        name: SoftirqName::NetRx,
        thread: thread.map(str::to_owned),
        vm: thread.map(|_| "vm".to_owned()),
    }
}

/// The last answer arrives 50 ms after the last request.
fn request(experiment: &str, n: u64, start_ns: u64, bytes: u64) -> Request {
    Request {
        experiment: Some(experiment.to_owned()),
        repetition: Some(0),
        client: 0,
        request: n,
        intended_ns: start_ns,
        start_ns,
        first_byte_ns: None,
        finish_ns: Some(start_ns + 50 * MS),
        response_ns: Some(50 * MS),
        status: Some(200),
        bytes,
        error: None,
        vm: Some("vm".to_owned()),
        service: Some("web".to_owned()),
    }
}

fn trace(supply: &[Supply]) -> TraceFacts {
    let thread = |(name, tid): (&str, i32)| {
        let own = supply.iter().filter(|row| row.thread == name);
        let ran_ns = own.map(|row| row.end_ns - row.start_ns).sum();
        ThreadFacts {
            vm: Some("vm".to_owned()),
            thread: name.to_owned(),
            tid,
            traced_ns: ran_ns,
            measured_cpu_ns: ran_ns,
            clock_ns: Some(ran_ns),
        }
    };
    TraceFacts {
        from_ns: ZERO - 100 * MS,
        to_ns: ZERO + 100 * EVERY,
        workload_from_ns: Some(ZERO),
        workload_to_ns: Some(ZERO + 100 * EVERY),
        lost_events: 0,
        unpaired: 0,
        threads: [("vcpu0", 7), ("main-loop", 5), ("worker", 9)].map(thread).into(),
    }
}

#[test]
fn every_request_has_an_account() {
    let folder = folder([SMALL, LARGE, LARGE]);
    let results = Results::read(folder.path()).unwrap();
    let served = network::all(&results);
    insta::assert_snapshot!(network::table::grid(&results, &served).write(Format::Text), @"
    experiment    network  emulator   requests  per s    reply    vCPUs  main loop  other threads  vhost  softirq      sum  softirq in vCPUs  reserved  measured CPU  other CPUs    p50    p99
    ────────────  ───────  ─────────  ────────  ─────  ───────  ───────  ─────────  ─────────────  ─────  ───────  ───────  ────────────────  ────────  ────────────  ──────────  ─────  ─────
    small         user     5ms/100ms       100   10.1    300 B  4.00 ms     500 µs              0      0  50.0 µs  4.55 ms                 0   4.50 ms             0     50.0 µs  50.00  50.00
    large         user     5ms/100ms       100   10.1  30.0 kB  6.00 ms    2.00 ms        10.0 µs      0   210 µs  8.22 ms                 0   8.00 ms       20.0 µs      200 µs  50.00  50.00
    large-shared  user     shared          100   10.1  30.0 kB  6.00 ms    2.00 ms        10.0 µs      0   210 µs  8.22 ms                 0   6.00 ms       2.02 ms      200 µs  50.00  50.00

    CPU time of the host for each good answer, between the first request and the last answer, from the trace: all repetitions together. Softirq: of the network, in nobody's time of the VM's threads, from all traffic of the host; the clients' own time is not counted. Reserved: within reservations of the VM's vCPUs or main loop. Measured CPU: there, outside of any reservation. p50 and p99 in milliseconds.
    ");
    insta::assert_snapshot!(network::table::csv(&results, &served), @"
    experiment,attempt,network,emulator,answered,bytes,window_ns,vcpus_ns,main_loop_ns,other_threads_ns,vhost_ns,softirq_ns,softirq_in_vcpus_ns,softirq_in_vm_ns,reserved_ns,measured_cpu_ns,other_cpus_ns
    small,0,user,5ms/100ms,100,30000,9950000000,400000000,50000000,0,0,5000000,0,10000000,450000000,0,5000000
    large,0,user,5ms/100ms,100,3000000,9950000000,600000000,200000000,1000000,0,21000000,0,40000000,800000000,2000000,20000000
    large-shared,0,user,shared,100,3000000,9950000000,600000000,200000000,1000000,0,21000000,0,40000000,600000000,202000000,20000000
    ");
}

#[test]
fn a_figure_shows_the_services_that_differ_in_their_reply_alone() {
    let folder = folder([SMALL, LARGE, LARGE]);
    let results = Results::read(folder.path()).unwrap();
    let served = network::all(&results);
    let figures = network::figure::figures(&served);
    let names: Vec<&str> = figures.iter().map(|own| own.name.as_str()).collect();
    assert_eq!(names, ["network-reply-small"]);
    let labels: Vec<&str> = figures[0].panels.iter().map(|own| own.x_label.as_str()).collect();
    assert_eq!(
        labels,
        ["body of the reply (kB), emulator: 5ms/100ms", "body of the reply (kB), emulator: shared"]
    );
    let line = |label: &str| {
        let mut lines = figures[0].panels[0].lines.iter();
        lines.find(|own| own.label == label).map(|own| own.points.clone())
    };
    assert_eq!(line("vCPUs").unwrap(), [(0.3, 4.0), (30.0, 6.0)]);
    assert_eq!(line("main loop").unwrap(), [(0.3, 0.5), (30.0, 2.0)]);
    assert_eq!(line("vhost"), None, "there is none");
    let page = reports::render::render(&results).unwrap();
    let text = fs::read_to_string(page.index).unwrap();
    assert!(text.contains("What network traffic costs, and who pays"), "{text}");
}

#[test]
fn a_trace_without_softirqs_leaves_their_cells_empty() {
    let folder = folder([SMALL, LARGE, LARGE]);
    fs::remove_file(folder.path().join("small/rep-000/softirq.csv")).unwrap();
    let results = Results::read(folder.path()).unwrap();
    let csv = network::table::csv(&results, &network::all(&results));
    let first = csv.lines().nth(1).unwrap();
    assert!(first.contains(",0,,,,"), "{first}");
}

/// Traffic that is accounted for, and every way in which it is not.
#[test]
fn the_claim_about_traffic_has_its_enemies() {
    let verdict = |cost: Cost| {
        let folder = folder([cost, LARGE, LARGE]);
        let results = Results::read(folder.path()).unwrap();
        let claims = claims::all(&results);
        assert!(claims.iter().all(|own| own.id != "network-large-shared-accounted"));
        let own = claims.into_iter().find(|own| own.id == "network-small-accounted").unwrap();
        own.verdict
    };
    assert_eq!(verdict(SMALL), Verdict::Holds);
    assert_eq!(verdict(Cost { main_loop: 9_500, ..SMALL }), Verdict::Fails, "9 ms are allowed");
    assert_eq!(verdict(Cost { main_loop: 8_500, ..SMALL }), Verdict::Holds);
    assert_eq!(
        verdict(Cost { worker: 1_500, ..SMALL }),
        Verdict::Fails,
        "threads unreserved there"
    );
    assert_eq!(verdict(Cost { softirq: (0, 1_500, 0), ..SMALL }), Verdict::Fails);
    assert_eq!(verdict(Cost { softirq: (0, 0, 1_500), ..SMALL }), Verdict::Holds, "elsewhere");
}

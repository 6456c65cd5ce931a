//! Made-up experiments that differ in nothing but the mechanism, and how they are ranked.

use model::{
    manifest::{Impossible, TraceFacts},
    sample::{self, Ended, Job, Supply},
};
use reports::{
    Results, claims,
    grid::Format,
    mechanisms::{groups, table},
    page::{content::Content, html, markdown},
};

use crate::made_up::{MadeUp, Shape};

const MS: u64 = 1_000_000;

fn experiment(name: &str, mechanism: &str) -> String {
    let reservation = match mechanism {
        "none" => String::new(),
        _ => format!(
            "reservation = {{ budget = \"28ms\", period = \"50ms\", mechanism = \"{mechanism}\" }}"
        ),
    };
    format!(
        "[[experiment]]\nname = \"{name}\"\nwhere = \"guest\"\n\
         tasks = [\"30ms/150ms\", \"50ms/200ms\"]\n\
         load = {{ tasks = [\"50ms/120ms\", \"20ms/80ms\"] }}\n{reservation}\n"
    )
}

fn suite(mechanisms: &[&str]) -> String {
    let all: String = mechanisms.iter().map(|one| experiment(&format!("x-{one}"), one)).collect();
    format!("name = \"made-up\"\n{all}")
}

fn fast(task: usize, _: usize) -> f64 {
    [31.0, 81.0][task]
}

fn reserved(task: usize, _: usize) -> f64 {
    [52.0, 124.0][task]
}

fn starved(task: usize, n: usize) -> f64 {
    [60.0, 150.0 + 2.0 * n as f64][task]
}

/// Five mechanisms: four measured, one that the host lacks.
fn folder() -> MadeUp {
    let mut folder =
        MadeUp::empty(&suite(&["none", "fifo-above", "deadline", "rt-group", "timer-server"]));
    let measured = [
        ("x-none", starved as Shape, 0),
        ("x-fifo-above", fast, 5),
        ("x-deadline", reserved, 3),
        ("x-timer-server", reserved, 1),
    ];
    for (name, shape, misses) in measured {
        folder.add(name, shape);
        host_jobs(&folder, name, misses);
    }
    trace(&mut folder, "x-deadline", &[28, 22, 28, 22, 28, 22]);
    trace(&mut folder, "x-fifo-above", &[200]);
    folder.manifest.impossible.push(Impossible {
        experiment: "x-rt-group".to_owned(),
        reason: "mechanism `rt-group`: no such group; build one".to_owned(),
    });
    folder.save();
    folder
}

/// All jobs of the host's two tasks, of which the second misses some.
fn host_jobs(folder: &MadeUp, name: &str, misses: u64) {
    let job = |task: u64, n: u64| {
        let deadline_ns = [120 * MS, 80 * MS][task as usize];
        let release_ns = n * deadline_ns;
        let missed = task == 1 && n < misses;
        let response_ns = if missed { deadline_ns + MS } else { deadline_ns - 9 * MS };
        Job {
            experiment: None,
            repetition: None,
            task: format!("tau{}", task + 1),
            job: n,
            release_ns,
            start_ns: release_ns,
            finish_ns: release_ns + response_ns,
            response_ns,
            cpu_ns: None,
            deadline_ns,
            missed,
            stalled_ns: None,
            vm: None,
            service: None,
        }
    };
    let jobs: Vec<Job> = [250, 375]
        .into_iter()
        .zip(0..)
        .flat_map(|(jobs, task)| (0..jobs).map(move |n| job(task, n)))
        .collect();
    let file = folder.path().join(name).join("rep-000/load-jobs.csv");
    sample::write_csv(&file, &jobs).unwrap();
}

/// One busy interval at 1 s, of runs and gaps in turn, in a workload of 1 s.
fn trace(folder: &mut MadeUp, name: &str, lengths_ms: &[u64]) {
    let mut at = 1000 * MS;
    let mut rows = Vec::new();
    for (index, length) in lengths_ms.iter().enumerate() {
        let end = at + length * MS;
        let last = index + 2 >= lengths_ms.len();
        if index % 2 == 0 {
            rows.push(Supply {
                start_ns: at,
                end_ns: end,
                thread: "vcpu0".to_owned(),
                cpu: Some(1),
                woken_ns: (index == 0).then_some(at),
                ended: Some(if last { Ended::Slept } else { Ended::Runnable }),
                vm: None,
            });
        }
        at = end;
    }
    let place = folder.path().join(name).join("rep-000");
    sample::write_csv(&place.join("supply.csv"), &rows).unwrap();
    let records = &mut folder.manifest.repetitions;
    let record = records.iter_mut().find(|record| record.experiment == name).unwrap();
    record.facts.trace = Some(TraceFacts {
        from_ns: 900 * MS,
        to_ns: 2000 * MS,
        workload_from_ns: Some(1000 * MS),
        workload_to_ns: Some(2000 * MS),
        lost_events: 0,
        unpaired: 0,
        threads: Vec::new(),
    });
}

fn results(folder: &MadeUp) -> Results {
    Results::read(folder.path()).unwrap()
}

#[test]
fn misses_first_then_response_times_then_the_host() {
    let text = table::write(&results(&folder()), Format::Text).unwrap();
    insta::assert_snapshot!(text, @"
    28ms/50ms for 30ms/150ms, 50ms/200ms beside 50ms/120ms, 20ms/80ms

    rank  mechanism     experiment      tau1 p99  tau1 missed  tau2 p99  tau2 missed  delivered  least in 2P − Q  beyond Q/P  host tau3 p99  host tau3 missed  host tau4 p99  host tau4 missed
    ────  ────────────  ──────────────  ────────  ───────────  ────────  ───────────  ─────────  ───────────────  ──────────  ─────────────  ────────────────  ─────────────  ────────────────
    1     fifo-above    x-fifo-above       31.30     0 of 200     89.95     0 of 150       20 %            72.00         yes         111.00          0 of 250          81.00          5 of 375
    2     timer-server  x-timer-server     52.29     0 of 198    124.29     0 of 148          –                –           –         111.00          0 of 250          71.00          1 of 375
    3     deadline      x-deadline         52.30     0 of 198    124.30     0 of 148      8.4 %            28.00          no         111.00          0 of 250          71.00          3 of 375
    4     none          x-none             60.30     0 of 200    446.18   124 of 150          –                –           –         111.00          0 of 250          71.00          0 of 375
    –     rt-group      x-rt-group             –            –         –            –          –                –           –              –                 –              –                 –

    Ranked by the share of the VM's jobs that missed (or requests that failed); then by the 99th percentile of the task nearest to its deadline, in tenths of the deadline (of a service: of the least p99 here); then by the share of the host's jobs that missed.
    Times in milliseconds. Delivered: the vCPU's share of the CPU, promised are 56 % to one that asks. Least: in any window of 72.0 ms in which the vCPU asked and no stall fell; two-gap supply is 28.00 there. Beyond Q/P: whether a busy vCPU got more than a cap of Q in P lets through.
    x-fifo-above: all its jobs: no bound is promised, or fewer than half are undisturbed.
    x-none: all its jobs: no bound is promised, or fewer than half are undisturbed.
    x-rt-group: not possible on this host: mechanism `rt-group`: no such group; build one.
    ");
}

#[test]
fn scripts_get_a_row_for_each_task_of_either_side() {
    let csv = table::write(&results(&folder()), Format::Csv).unwrap();
    let some: Vec<&str> = csv.lines().filter(|line| !line.contains("x-fifo")).collect();
    insta::assert_snapshot!(some.join("\n"), @"
    budget_ns,period_ns,rank,mechanism,experiment,side,task,jobs,misses,mean_ns,p99_ns,deadline_ns,delivered_share,least_ns,beyond,selection
    28000000,50000000,2,timer-server,x-timer-server,vm,tau1,198,0,52009360,52292684,150000000,,,,undisturbed
    28000000,50000000,2,timer-server,x-timer-server,vm,tau2,148,0,124001068,124292990,200000000,,,,undisturbed
    28000000,50000000,2,timer-server,x-timer-server,host,tau3,250,0,111000000,111000000,120000000,,,,all
    28000000,50000000,2,timer-server,x-timer-server,host,tau4,375,1,71026667,71000000,80000000,,,,all
    28000000,50000000,3,deadline,x-deadline,vm,tau1,198,0,51997732,52298390,150000000,0.084000,28000000,0,undisturbed
    28000000,50000000,3,deadline,x-deadline,vm,tau2,148,0,124011731,124295783,200000000,0.084000,28000000,0,undisturbed
    28000000,50000000,3,deadline,x-deadline,host,tau3,250,0,111000000,111000000,120000000,0.084000,28000000,0,all
    28000000,50000000,3,deadline,x-deadline,host,tau4,375,3,71080000,71000000,80000000,0.084000,28000000,0,all
    28000000,50000000,4,none,x-none,vm,tau1,200,0,60093921,60296252,150000000,,,,all
    28000000,50000000,4,none,x-none,vm,tau2,150,124,299108356,446181702,200000000,,,,all
    28000000,50000000,4,none,x-none,host,tau3,250,0,111000000,111000000,120000000,,,,all
    28000000,50000000,4,none,x-none,host,tau4,375,0,71000000,71000000,80000000,,,,all
    28000000,50000000,,rt-group,x-rt-group,,,,,,,,,,,
    ");
}

#[test]
fn what_cannot_be_told_apart_shares_a_rank() {
    let folder = folder();
    host_jobs(&folder, "x-timer-server", 3);
    let results = results(&folder);
    let groups = groups(&results);
    let ranks: Vec<_> =
        groups[0].members.iter().map(|(rank, own)| (own.mechanism.name(), *rank)).collect();
    assert_eq!(
        ranks,
        [
            ("fifo-above", Some(1)),
            ("deadline", Some(2)),
            ("timer-server", Some(2)),
            ("none", Some(4)),
            ("rt-group", None)
        ]
    );
}

#[test]
fn experiments_that_differ_in_more_are_not_ranked() {
    let two = suite(&["none", "deadline", "rt-group"]);
    let of = |text: &str| groups(&results(&MadeUp::empty(text))).len();
    assert_eq!(of(&two), 1);
    assert_eq!(of(&suite(&["none", "deadline"])), 0, "one mechanism and none");
    let tasks = two.replacen("\"50ms/120ms\"", "\"51ms/120ms\"", 2);
    assert_eq!(of(&tasks), 0, "another load");
    assert_eq!(of(&two.replacen("\"28ms\"", "\"29ms\"", 1)), 0, "another budget");
}

#[test]
fn the_page_ranks_and_says_what_was_not_possible() {
    let results = results(&folder());
    let claims = claims::all(&results);
    let content = Content::of(&results, &claims, &[]);
    let (html, text) = (html::write(&content, &[], None), markdown::write(&content, &[]));
    for page in [&html, &text] {
        assert!(page.contains("Which mechanism isolates"));
        assert!(page.contains("x-rt-group is not possible on this host: mechanism"));
    }
}

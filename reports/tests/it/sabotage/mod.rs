//! Every claim has an enemy: claim × sabotage, with the verdict expected in each cell.
//!
//! The folders are simulated; manifests promise a sound system, and each sabotage breaks what runs
//! beneath one. A claim that no sabotage turns red says nothing.

mod adapt;
mod service;
pub mod system;
mod tenants;

use std::{collections::BTreeMap, time::Duration};

use model::sample::Job;
use reports::{
    Results,
    claims::{self, Verdict},
};
use rtplan::sim::Server;

use crate::made_up::MadeUp;

use self::system::{Bend, Bent, everything, folder, neighbour, scaled, stalls};
use model::suite::{Experiment, Place};

const SUITE: &str = r#"
name = "sabotaged"
[[experiment]]
name = "fig1"
where = "host"
tasks = ["30ms/150ms", "50ms/200ms"]
duration = "12s"
repetitions = 3
work = "fixed"
[[experiment]]
name = "fig2"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
duration = "12s"
repetitions = 3
work = "fixed"
[[experiment]]
name = "fig3"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"] }
duration = "12s"
repetitions = 3
work = "fixed"
[[experiment]]
name = "fig4-unloaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
reservation = { budget = "28ms", period = "50ms" }
duration = "12s"
repetitions = 3
work = "fixed"
[[experiment]]
name = "fig4-loaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"] }
reservation = { budget = "28ms", period = "50ms" }
duration = "12s"
repetitions = 3
work = "fixed"
[[sweep]]
experiment = "fig4-loaded"
budgets = ["27ms", "28ms", "30ms"]
repetitions = 1
"#;

/// The claims about a folder that says `told`, where `played` was simulated, undisturbed.
fn played_as(played: &str, told: &str) -> Vec<claims::Claim> {
    let out = tempfile::tempdir().unwrap();
    let parsed = |text| model::suite::parse(text, "suite.toml").unwrap();
    let plan = rtplan::sim::suite::Plan {
        suite: parsed(played),
        text: played.to_owned(),
        measured: None,
        tick: None,
        switch_overhead: Duration::ZERO,
        fair_server: None,
        seed: 0,
    };
    let folder = rtplan::sim::suite::run(&plan, out.path()).unwrap();
    let mut manifest = Results::read(&folder).unwrap().manifest;
    manifest.suite = parsed(told);
    let text = serde_json::to_string(&manifest).unwrap();
    std::fs::write(folder.join("manifest.json"), text).unwrap();
    claims::all(&Results::read(&folder).unwrap())
}

/// A way to break a system.
struct Sabotage {
    name: &'static str,
    bend: Bend,
    service: service::Shares,
}

fn sabotages() -> Vec<Sabotage> {
    let of = |name, bend: Bend| Sabotage { name, bend, service: service::SOUND };
    let with = |name, bend: Bend, service| Sabotage { name, bend, service };
    let sound = service::SOUND;
    vec![
        of("sound", |bent, own, _| sounds(bent, own)),
        of("32 of every 50 ms", |bent, own, _| reserved(bent, own, hard("32ms/50ms"))),
        of("24 of every 50 ms", |bent, own, _| reserved(bent, own, hard("24ms/50ms"))),
        with(
            "soft server",
            |bent, own, _| reserved(bent, own, Server::SoftCbs("28ms/50ms".parse().unwrap())),
            service::Shares { reserved: 1.0, ..sound },
        ),
        of("no cap", |bent, own, _| {
            let idle = own.loads.is_empty();
            let server = if idle { everything() } else { hard("28ms/50ms") };
            reserved(bent, own, server);
        }),
        with(
            "40 % instead of 60",
            |bent, own, _| reserved(bent, own, hard("20ms/50ms")),
            service::Shares { reserved: 0.4, ..sound },
        ),
        with(
            "load on another CPU",
            |bent, own, _| {
                sounds(bent, own);
                bent.elsewhere = !own.loads.is_empty();
            },
            service::Shares { loaded: 1.0, ..sound },
        ),
        with(
            "no load",
            |bent, own, _| {
                sounds(bent, own);
                if !own.loads.is_empty() {
                    bent.cpu.threads.remove(1);
                }
            },
            service::Shares { loaded: 1.0, ..sound },
        ),
        with(
            "half the load",
            |bent, own, _| {
                sounds(bent, own);
                if let Some(load) = bent.load().filter(|_| !own.loads.is_empty()) {
                    scaled(load, 0.5);
                }
            },
            service::Shares { loaded: 0.56, ..sound },
        ),
        with(
            "guest ten times slower",
            |bent, own, _| slowed(bent, own, Place::Guest, 10.0),
            service::Shares { guest: 0.1 * sound.guest, ..sound },
        ),
        with(
            "guest 10 % slower",
            |bent, own, _| slowed(bent, own, Place::Guest, 1.1),
            service::Shares { guest: sound.guest / 1.1, ..sound },
        ),
        of("host 9 % slower", |bent, own, _| slowed(bent, own, Place::Host, 1.09)),
        with(
            "guest robbed in slices of 0.5 ms",
            |bent, own, _| {
                sounds(bent, own);
                if own.workloads()[0].place() == Place::Guest {
                    let (gap, slice) = (Duration::from_micros(4500), Duration::from_micros(500));
                    (bent.cpu.stalls, bent.watched) = (stalls(gap, slice), false);
                }
            },
            service::Shares { guest: 0.9 * sound.guest, ..sound },
        ),
        of("figure 4, loaded, shifted by 4 ms", |bent, own, _| {
            sounds(bent, own);
            if own.name == "fig4-loaded" {
                bent.rows = |rows| rows.iter_mut().for_each(|job| later(job, 4_000_000));
            }
        }),
        of("tau2 starved in one run", |bent, own, repetition| {
            sounds(bent, own);
            if own.name == "fig4-loaded" && repetition == 1 {
                bent.rows = |rows| rows.retain(|job| job.task != "tau2");
            }
        }),
        of("all after the tenth disturbed and late", |bent, own, _| {
            sounds(bent, own);
            if own.name.starts_with("fig4") {
                bent.rows = |rows| {
                    rows.iter_mut().filter(|job| job.job >= 10).for_each(|job| {
                        job.stalled_ns = Some(9_000_000);
                        later(job, 150_000_000);
                    });
                };
            }
        }),
        with(
            "mechanism silently off",
            |bent, own, _| reserved(bent, own, Server::NONE),
            service::Shares { reserved: sound.loaded, ..sound },
        ),
        of("stalls and no load", |bent, own, _| {
            sounds(bent, own);
            if own.name == "fig3" {
                bent.cpu.threads.truncate(1);
                let (gap, length) = (Duration::from_millis(150), Duration::from_millis(150));
                bent.cpu.stalls = stalls(gap, length);
            }
        }),
        of("the tasks' priorities off", |bent, own, _| {
            sounds(bent, own);
            let tasks = &mut bent.cpu.threads[0].tasks;
            tasks.swap(0, 1);
            bent.cpu.threads[0].names.swap(0, 1);
        }),
    ]
}

fn hard(reservation: &str) -> Server {
    Server::HardCbs(reservation.parse().unwrap())
}

/// An unreserved guest has ordinary neighbours.
fn sounds(bent: &mut Bent, own: &Experiment) {
    if own.name == "fig3" {
        bent.cpu.threads.push(neighbour(0.06));
    }
}

fn reserved(bent: &mut Bent, own: &Experiment, server: Server) {
    sounds(bent, own);
    // A sweep has its own budgets; what is wrong with the mechanism is so there as well.
    if own.workloads()[0].reservation().is_some() {
        bent.serve(server);
        if server == Server::NONE && !own.loads.is_empty() {
            bent.cpu.threads.push(neighbour(0.06));
        }
    }
}

fn slowed(bent: &mut Bent, own: &Experiment, place: Place, factor: f64) {
    sounds(bent, own);
    if own.workloads()[0].place() == place {
        bent.slower *= factor;
    }
}

fn later(job: &mut Job, by_ns: u64) {
    job.finish_ns += by_ns;
    job.response_ns += by_ns;
    job.missed = job.response_ns > job.deadline_ns;
}

/// The verdict on each claim: figures and Table 1; and, of a host that ends budgets on time, what is
/// claimed of such alone.
fn verdicts(sabotage: &Sabotage) -> BTreeMap<String, Verdict> {
    let mut figures = folder(SUITE, 1, sabotage.bend);
    let mut all = BTreeMap::new();
    let mut add = |own: &MadeUp, which: &str| {
        let results = Results::read(own.path()).unwrap();
        for claim in claims::all(&results).into_iter().filter(|own| own.id.ends_with(which)) {
            if std::env::var("RTVM_SHOW_CLAIMS").is_ok_and(|id| claim.id.contains(&id)) {
                println!(
                    "{}: {}: {:?} {:?}",
                    sabotage.name, claim.id, claim.measured, claim.reason
                );
            }
            all.insert(claim.id.into_owned(), claim.verdict);
        }
    };
    add(&figures, "");
    add(&service::folder(&sabotage.service), "");
    figures.manifest.host.hrtick_dl = Some(true);
    figures.save();
    add(&figures, "-every-period");
    all
}

fn mark(verdict: Verdict) -> char {
    match verdict {
        Verdict::Holds => '.',
        Verdict::Fails => 'F',
        Verdict::NotMeasurable => '?',
    }
}

/// A row for each claim, a column for each sabotage.
fn table(columns: &[(&str, BTreeMap<String, Verdict>)]) -> String {
    let mut text = "claim × sabotage\n".to_owned();
    for (at, (name, _)) in columns.iter().enumerate() {
        text += &format!("{} {name}\n", letter(at));
    }
    let letters: String = (0..columns.len()).map(letter).collect();
    text += &format!("{:40}{letters}\n", "F fails, ? not measurable, . unmoved");
    for id in columns[0].1.keys() {
        let cells: String = columns.iter().map(|(_, own)| mark(own[id])).collect();
        text += &format!("{id:40}{cells}\n");
    }
    text
}

/// The table, once each claim holds of the sound system in the first column and is turned red by
/// another, and each of the others is noticed.
fn checked(columns: &[(&str, BTreeMap<String, Verdict>)]) -> String {
    let text = table(columns);
    println!("{text}");
    let (_, sound) = &columns[0];
    for (id, verdict) in sound {
        assert_eq!(*verdict, Verdict::Holds, "{id} of a sound system\n{text}");
        let red = columns.iter().any(|(_, own)| own[id] == Verdict::Fails);
        assert!(red, "no sabotage turns {id} red\n{text}");
    }
    for (name, own) in &columns[1..] {
        assert!(own.values().any(|verdict| *verdict != Verdict::Holds), "{name} is not noticed");
    }
    text
}

fn letter(at: usize) -> char {
    char::from(b'a' + at as u8)
}

#[test]
fn every_claim_has_an_enemy() {
    let columns: Vec<_> = sabotages().iter().map(|own| (own.name, verdicts(own))).collect();
    let text = checked(&columns);
    insta::assert_snapshot!(text, @"
    claim × sabotage
    a sound
    b 32 of every 50 ms
    c 24 of every 50 ms
    d soft server
    e no cap
    f 40 % instead of 60
    g load on another CPU
    h no load
    i half the load
    j guest ten times slower
    k guest 10 % slower
    l host 9 % slower
    m guest robbed in slices of 0.5 ms
    n figure 4, loaded, shifted by 4 ms
    o tau2 starved in one run
    p all after the tenth disturbed and late
    q mechanism silently off
    r stalls and no load
    s the tasks' priorities off
    F fails, ? not measurable, . unmoved    abcdefghijklmnopqrs
    fig1-tau1-bound                         ...........F......F
    fig1-tau2-bound                         ...........F......F
    fig2-tau1-same-work                     .........FF.F......
    fig2-tau2-same-work                     .........FF.F......
    fig2-work                               .........FF.F......
    fig3-load                               ......FFF...F....F.
    fig3-tau1-many-missed                   ......FFF........?.
    fig3-tau1-slowed                        ......FF.........?.
    fig3-tau2-grows                         ......FFF........FF
    fig4-load                               ......FFF..........
    fig4-loaded-misses                      ..F..F...FF.F.F?F..
    fig4-loaded-tau1                        .F.F.F...F.....?F.F
    fig4-loaded-tau2                        ..FF.F...FF.F.F?F.F
    fig4-tau1-identical                     ....F....?...F.?F..
    fig4-tau2-identical                     ....F?.......F??F..
    fig4-unloaded-misses                    ..F..F...FF.F..?...
    fig4-unloaded-tau1                      .F.FFF...F.....?F.F
    fig4-unloaded-tau2                      ..FFFF...FF.F..?F.F
    practice-28                             .FFFFF...FF.F.F?F..
    supply-fig4-loaded-27ms-at-least        ..F..F......F...F..
    supply-fig4-loaded-27ms-capped          .F.F............F..
    supply-fig4-loaded-27ms-every-period    ..F?.F......F...F..
    supply-fig4-loaded-28ms-at-least        ..F..F......F...F..
    supply-fig4-loaded-28ms-capped          .F.F............F..
    supply-fig4-loaded-28ms-every-period    ..F?.F......F...F..
    supply-fig4-loaded-30ms-at-least        ..F..F......F...F..
    supply-fig4-loaded-30ms-capped          ...F............F..
    supply-fig4-loaded-30ms-every-period    ..F?FF......F...F..
    supply-fig4-loaded-at-least             ..F..F......F...F..
    supply-fig4-loaded-capped               .F.F............F..
    supply-fig4-loaded-every-period         ..F?.F......F...F..
    supply-fig4-unloaded-at-least           ..F..F......F......
    supply-fig4-unloaded-capped             .F.FF...........F..
    supply-fig4-unloaded-every-period       ..F??F......F...?..
    table1-loaded                           ......FFF..........
    table1-overhead-avg                     .........FF.F......
    table1-overhead-max                     .........FF.F......
    table1-reserved-share                   ...F.F..........F..
    table1-spread-between                   ......FFF.......F..
    ");
}

//! Claim × sabotage of VMs beside each other.

use std::collections::BTreeMap;

use reports::{
    Results,
    claims::{self, Verdict},
};
use rtplan::sim::Server;

use super::{
    checked, hard, later, played_as,
    system::{Bend, Bent, folder},
};

/// As `experiments/tenants.toml`, smaller.
const SUITE: &str = r#"
name = "tenants"
[[experiment]]
name = "quiet"
duration = "12s"
repetitions = 3
[[experiment.vm]]
name = "control"
vcpus = [{ budget = "33ms", period = "50ms" }]
service = [{ tasks = ["30ms/150ms", "50ms/200ms"] }]
[[experiment.vm]]
name = "other"
vcpus = [{ budget = "10ms", period = "100ms" }]
service = [{ tasks = ["1ms/100ms"] }]
[[experiment]]
name = "spins"
duration = "12s"
repetitions = 3
[[experiment.vm]]
name = "control"
vcpus = [{ budget = "33ms", period = "50ms" }]
service = [{ tasks = ["30ms/150ms", "50ms/200ms"] }]
[[experiment.vm]]
name = "other"
vcpus = [{ budget = "10ms", period = "100ms" }]
service = [{ wild = "spin" }]
[[experiment]]
name = "enough"
duration = "12s"
[[experiment.vm]]
name = "control"
vcpus = [{ budget = "34ms", period = "50ms" }]
mechanism = "timer-server"
service = [{ tasks = ["30ms/150ms", "50ms/200ms"] }]
[[experiment.vm]]
name = "urgent"
vcpus = [{ budget = "4ms", period = "20ms" }]
service = [{ wild = "spin" }]
[[sweep]]
experiment = "enough"
vm = "control"
budgets = ["24ms", "28ms", "34ms"]
"#;

/// A name, and what is wrong.
type Sabotage = (&'static str, Bend);

fn sabotages() -> Vec<Sabotage> {
    vec![
        ("sound", |_, _, _| ()),
        ("the VM's reservation off", |bent, _, _| bent.serve(Server::NONE)),
        ("the VM gets 22 of every 50 ms", |bent, _, _| bent.serve(hard("22ms/50ms"))),
        ("the VM gets 40 of every 50 ms", |bent, _, _| bent.serve(hard("40ms/50ms"))),
        ("soft servers", |bent, own, _| {
            let reservation = own.vms[0].reservation().unwrap().reservation();
            bent.serve(Server::SoftCbs(reservation));
        }),
        ("the neighbour gets 6 of every 20 ms", |bent, _, _| neighbour(bent, "6ms/20ms")),
        ("the VM 4 ms later beside a wild one", |bent, own, _| {
            if own.name == "spins" {
                bent.rows = |rows| rows.iter_mut().for_each(|job| later(job, 4_000_000));
            }
        }),
        ("tau2 starved beside a wild one", |bent, own, repetition| {
            if own.name == "spins" && repetition == 1 {
                bent.rows = |rows| rows.retain(|job| job.task != "tau2");
            }
        }),
    ]
}

/// Another reservation for the neighbour.
fn neighbour(bent: &mut Bent, reservation: &str) {
    bent.cpu.threads[1].server = hard(reservation);
}

fn verdicts(bend: Bend) -> BTreeMap<String, Verdict> {
    let folder = folder(SUITE, 1, bend);
    let results = Results::read(folder.path()).unwrap();
    // The supply of the first VM alone is made up; its claims have their enemies beside.
    let all = claims::all(&results).into_iter().filter(|claim| claim.figure == "tenants");
    all.map(|claim| (claim.id.into_owned(), claim.verdict)).collect()
}

#[test]
fn every_claim_about_tenants_has_an_enemy() {
    let columns: Vec<_> =
        sabotages().into_iter().map(|(name, bend)| (name, verdicts(bend))).collect();
    insta::assert_snapshot!(checked(&columns), @"
    claim × sabotage
    a sound
    b the VM's reservation off
    c the VM gets 22 of every 50 ms
    d the VM gets 40 of every 50 ms
    e soft servers
    f the neighbour gets 6 of every 20 ms
    g the VM 4 ms later beside a wild one
    h tau2 starved beside a wild one
    F fails, ? not measurable, . unmoved    abcdefgh
    tenants-enough-least                    .FFFF...
    tenants-enough.control-misses           ..F.....
    tenants-quiet.control-misses            ..F.....
    tenants-spins.control-misses            ..F....F
    tenants-spins.control-tau1-unmoved      .F..FFF.
    tenants-spins.control-tau2-unmoved      .F?.FFF?
    ");
}

/// One VM, alone: a vCPU on each of two CPUs.
const APART: &str = r#"
name = "apart"
[host]
measured_cpus = [1, 0]
[[experiment]]
name = "apart"
duration = "12s"
[[experiment.vm]]
name = "smp"
vcpus = [{ cpu = 1, budget = "13ms", period = "50ms" }, { cpu = 0, budget = "16ms", period = "50ms" }]
service = [
    { name = "control", vcpu = 0, tasks = ["30ms/150ms"] },
    { name = "video", vcpu = 1, tasks = ["50ms/200ms"] },
]
"#;

/// Of each vCPU, whether its deadlines were kept, where `played` ran under the name of [`APART`].
fn kept(played: &str) -> [Verdict; 2] {
    let claims = played_as(played, APART);
    ["control", "video"].map(|service| {
        let id = format!("tenants-apart.smp.{service}-misses");
        claims.iter().find(|own| own.id == id).unwrap().verdict
    })
}

#[test]
fn every_vcpu_of_a_vm_keeps_its_deadlines_or_its_claim_fails() {
    assert_eq!(kept(APART), [Verdict::Holds; 2]);
    let short = APART.replace("budget = \"16ms\"", "budget = \"11ms\"");
    assert_eq!(kept(&short), [Verdict::Holds, Verdict::Fails]);
}

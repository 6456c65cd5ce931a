//! Execution times that travel: as arithmetic, and as a program.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use model::costs::{Component, Cost, CostVector, MeasuredHost, SCHEMA_VERSION};
use proptest::prelude::*;
use rtplan::predict::{Mix, Transport};
use serde_json::Value;

/// How many components there are.
const ALL: usize = Component::ALL.len();

/// A vector whose operations cost these, each within 1 % below and 2 % above.
fn vector(name: &str, costs: &[f64]) -> CostVector {
    let cost = |(component, &ns): (Component, &f64)| {
        let cost = Cost {
            per_operation_ns: ns,
            low_ns: ns * 0.99,
            high_ns: ns * 1.02,
            batches: 38,
            batch_operations: 1000,
            size_bytes: component.size_bytes(),
        };
        (component, Some(cost))
    };
    CostVector {
        schema_version: SCHEMA_VERSION,
        measured_utc: "2026-11-26T15:00:00Z".to_owned(),
        host: MeasuredHost { name: Some(name.to_owned()), ..MeasuredHost::default() },
        cpu: 1,
        policy: "fifo".to_owned(),
        loop_ns: Some(0.3),
        clock_read_ns: Some(200.0),
        batch_ns: 10_000_000,
        costs: Component::ALL.into_iter().zip(costs).map(cost).collect(),
    }
}

fn costs() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(0.1..10_000.0_f64, ALL)
}

/// Any number of components in any shares.
fn mix() -> impl Strategy<Value = Mix> {
    let weights = prop::collection::btree_map(0..ALL, 0.01..1.0_f64, 1..=ALL);
    weights.prop_map(|weights| {
        let sum: f64 = weights.values().sum();
        let share = |(at, weight): (usize, f64)| (Component::ALL[at], weight / sum);
        Mix::new(weights.into_iter().map(share).collect()).unwrap()
    })
}

fn between(from: &CostVector, to: &CostVector, mix: &Mix) -> Transport {
    Transport::between(("a.json", from), ("b.json", to), mix).unwrap()
}

/// The mix as it is on the other host: the one to travel back with.
fn mix_there(transport: &Transport) -> Mix {
    let weights = transport.parts.iter().map(|part| (part.component, part.to_weight));
    Mix::new(weights.collect()).unwrap()
}

proptest! {
    #[test]
    fn equal_vectors_change_nothing(costs in costs(), mix in mix(), ns in 1..10_u64.pow(12)) {
        let here = vector("a", &costs);
        let execution = Duration::from_nanos(ns);
        let scaled = between(&here, &here, &mix).scaled(execution);
        // Weights add up to 1 but for the last binary digit.
        prop_assert!(scaled.typical.abs_diff(execution) <= Duration::from_nanos(1));
        prop_assert!(scaled.low <= execution && execution <= scaled.high);
    }

    #[test]
    fn there_and_back_is_where_it_began(
        a in costs(), b in costs(), mix in mix(), ns in 10_u64.pow(6)..10_u64.pow(12),
    ) {
        let (a, b) = (vector("a", &a), vector("b", &b));
        let there = between(&a, &b, &mix);
        let back = between(&b, &a, &mix_there(&there));
        let execution = Duration::from_nanos(ns);
        let returned = back.scaled(there.scaled(execution).typical).typical;
        // Half a nanosecond there is `back.scale` of one here.
        let rounding = 1.0 + back.scale.typical + ns as f64 * 1e-12;
        prop_assert!(
            returned.abs_diff(execution).as_nanos() as f64 <= rounding,
            "{execution:?} {returned:?}"
        );
    }

    #[test]
    fn the_range_holds_the_typical_time(a in costs(), b in costs(), mix in mix(), ns in 1..10_u64.pow(9)) {
        let scaled = between(&vector("a", &a), &vector("b", &b), &mix).scaled(Duration::from_nanos(ns));
        prop_assert!(scaled.low <= scaled.typical && scaled.typical <= scaled.high);
    }

    #[test]
    fn what_costs_more_takes_longer(a in costs(), mix in mix(), at in 0..ALL) {
        let here = vector("a", &a);
        let mut dearer = a;
        dearer[at] *= 2.0;
        let scale = between(&here, &vector("b", &dearer), &mix).scale.typical;
        let weight = mix.parts().find(|(own, _)| *own == Component::ALL[at]);
        let weight = weight.map_or(0.0, |(_, weight)| weight);
        prop_assert!((scale - 1.0 - weight).abs() < 1e-9, "{scale} {weight}");
    }
}

/// Integer latency of 2 and 3 ns, the rest 1 and 10.
pub fn hosts(folder: &Path) {
    let costs = |latency: f64, rest: f64| {
        let mut costs = [rest; ALL];
        costs[0] = latency;
        costs
    };
    for (name, vector) in
        [("a", vector("here", &costs(2.0, 1.0))), ("b", vector("there", &costs(3.0, 10.0)))]
    {
        let text = serde_json::to_string(&vector).unwrap();
        fs::write(folder.join(format!("{name}.json")), text).unwrap();
    }
    fs::write(folder.join("suite.toml"), SUITE).unwrap();
}

const SUITE: &str = r#"
name = "s"
[[experiment]]
name = "host"
where = "host"
tasks = ["30ms/150ms", "50ms/200ms"]
duration = "6s"
repetitions = 1
work = "fixed"
[[experiment]]
name = "reserved"
where = "guest"
tasks = ["10ms/150ms", "20ms/200ms"]
reservation = { budget = "28ms", period = "50ms" }
load = { tasks = ["50ms/120ms"] }
duration = "6s"
repetitions = 1
work = "fixed"
[[experiment]]
name = "too-much-for-anything"
where = "guest"
tasks = ["120ms/150ms"]
load = { tasks = ["50ms/120ms"] }
duration = "6s"
repetitions = 1
work = "fixed"
[[experiment]]
name = "too-much"
where = "host"
tasks = ["120ms/150ms"]
duration = "6s"
repetitions = 1
work = "fixed"
[[experiment]]
name = "paced"
where = "host"
tasks = ["30ms/150ms"]
duration = "6s"
repetitions = 1
[[experiment]]
name = "web"
where = "host"
web = {}
repetitions = 1
"#;

pub fn predict(folder: &Path, rest: &[&str]) -> Output {
    let mut rtplan = Command::new(env!("CARGO_BIN_EXE_rtplan"));
    rtplan.current_dir(folder).args(["predict", "--from", "a.json", "--to", "b.json"]);
    rtplan.args(rest).output().unwrap()
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_suite_is_scaled_analysed_and_simulated() {
    let folder = tempfile::tempdir().unwrap();
    hosts(folder.path());
    let suite = ["--suite", "suite.toml", "--only", "host,reserved"];
    let output = predict(folder.path(), &suite);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap(), @r#"
from here (processor unknown, platform unknown), CPU 1, 2026-11-26T15:00:00Z
  to there (processor unknown, platform unknown), CPU 1, 2026-11-26T15:00:00Z

execution times × 1.5000 (1.4559 to 1.5455)
  integer_latency     100.0 % here, 100.0 % there: 2.000 ns here, 3.000 ns there (× 1.5000)

host, tasks: dedicated supply, every deadline holds
  task      C here   C there               range         D     worst     jobs  misses unfinished       p50       max
  tau1      30.000    45.000    43.676 to 46.364   150.000    46.364       40       0          0    45.000    45.000
  tau2      50.000    75.000    72.794 to 77.273   200.000   123.636       30       0          0   120.000   120.000

reserved, VM vm, tasks: aligned supply, every deadline holds
  task      C here   C there               range         D     worst     jobs  misses unfinished       p50       max
  tau1      10.000    15.000    14.559 to 15.455   150.000    15.455       40       0          0    15.000    15.000
  tau2      20.000    30.000    29.118 to 30.909   200.000    68.364       30       0          0    67.000    67.000

Times are in ms. C there: by the medians of both vectors, and the range that their 10th and 90th percentiles allow.
Worst response times are calculated with the upper end of C, the simulation with the medians.
The host's load is paced: its CPU time is the same there.
"#);
    let answer = json(&predict(folder.path(), &[&suite[..], &["--summary", "json"]].concat()));
    let host = &answer["experiments"][0];
    let tasks = host["tasks"].as_array().unwrap();
    let ns = |key: &str| tasks.iter().map(|task| task[key].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(ns("from_execution_ns"), [30_000_000, 50_000_000]);
    assert_eq!(ns("to_execution_ns"), [45_000_000, 75_000_000]);
    // 1.02 / 0.99 times as much.
    assert_eq!(ns("to_high_ns"), [46_363_637, 77_272_728]);
    assert_eq!(ns("wcrt_ns"), [46_363_637, 46_363_637 + 77_272_728]);
    assert_eq!(tasks[1]["response_ns"]["max"].as_f64().map(|ns| (ns / 1e6).round()), Some(120.0));
    assert_eq!((ns("jobs"), ns("misses")), (vec![40, 30], vec![0, 0]));
    assert_eq!(answer["mix"][0]["component"], "integer_latency");
    assert!((answer["scale"]["typical"].as_f64().unwrap() - 1.5).abs() < 1e-12);
    // The load takes what it took: 28 of 50 ms are promised beside it, aligned.
    let reserved = &answer["experiments"][1];
    assert_eq!((&reserved["supply"], &reserved["schedulable"]), (&"aligned".into(), &true.into()));
}

#[test]
fn another_mix_has_another_ratio_and_what_does_not_fit_is_exit_code_4() {
    let folder = tempfile::tempdir().unwrap();
    hosts(folder.path());
    let mix = "integer_latency=0.5,memory_l3=0.5";
    let rest = ["--execution", "100ms", "--mix", mix, "--summary", "json"];
    let answer = json(&predict(folder.path(), &rest));
    assert_eq!(answer["execution"]["to_execution_ns"], 575_000_000);
    assert!((answer["mix"][1]["to_weight"].as_f64().unwrap() - 5.0 / 5.75).abs() < 1e-12);
    let text = predict(folder.path(), &rest[..4]);
    insta::assert_snapshot!(String::from_utf8(text.stdout).unwrap(), @r#"
from here (processor unknown, platform unknown), CPU 1, 2026-11-26T15:00:00Z
  to there (processor unknown, platform unknown), CPU 1, 2026-11-26T15:00:00Z

execution times × 5.7500 (5.5809 to 5.9242)
  integer_latency      50.0 % here,  13.0 % there: 2.000 ns here, 3.000 ns there (× 1.5000)
  memory_l3            50.0 % here,  87.0 % there: 1.000 ns here, 10.000 ns there (× 10.0000)

100.000 ms here take 575.000 ms there (558.088 to 592.424)
"#);

    // With a CPU to itself, and where nothing is promised anyway.
    for name in ["too-much", "too-much-for-anything"] {
        let rest = ["--suite", "suite.toml", "--only", name, "--summary", "json"];
        let output = predict(folder.path(), &rest);
        assert_eq!(output.status.code(), Some(4), "{name}");
        let own = &json(&output)["experiments"][0];
        let (holds, wcrt) = (&own["schedulable"], &own["tasks"][0]["wcrt_ns"]);
        assert_eq!((holds, wcrt), (&false.into(), &Value::Null), "{name}");
        assert!(own["not_simulated"].as_str().unwrap().contains("longer than its period"), "{own}");
        assert_eq!(own["tasks"][0]["jobs"], Value::Null);
    }
}

#[test]
fn what_cannot_travel_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    hosts(folder.path());
    let changed = |name: &str, change: &dyn Fn(&mut Value)| {
        let text = fs::read_to_string(folder.path().join("b.json")).unwrap();
        let mut vector: Value = serde_json::from_str(&text).unwrap();
        change(&mut vector);
        fs::write(folder.path().join(name), vector.to_string()).unwrap();
    };
    changed("earlier.json", &|vector| vector["schema_version"] = 1.into());
    changed("more.json", &|vector| vector["speed"] = 2.into());
    changed("other.json", &|vector| vector["costs"]["speed"] = 2.into());
    changed("less.json", &|vector| vector["costs"]["memory_l3"] = Value::Null);
    let execution = ["--execution", "1ms"];
    for (rest, says) in [
        (vec!["--suite", "suite.toml"], "suite.toml: the work of paced is paced"),
        (vec!["--suite", "suite.toml", "--only", "web"], "no periodic tasks to predict"),
        (vec!["--suite", "suite.toml", "--only", "x"], "no experiment `x`"),
        (vec!["--suite", "none.toml"], "none.toml"),
        (vec!["--execution", "0"], "--execution 0"),
        (vec![], "--suite"),
        ([&execution[..], &["--mix", "timer=0.5"]].concat(), "add up to 0.5"),
        ([&execution[..], &["--mix", "speed=1"]].concat(), "no component `speed`"),
        ([&execution[..], &["--to", "earlier.json"]].concat(), "cannot be used multiple times"),
    ] {
        let output = predict(folder.path(), &rest);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{rest:?}: {stderr}");
        assert!(stderr.contains(says) && output.stdout.is_empty(), "{rest:?}: {stderr}");
    }
    for (to, says) in [
        ("earlier.json", "--to earlier.json: schema_version 1: this program reads version 2"),
        (
            "more.json",
            "--to more.json: not a vector of `rtload characterise`: unknown field `speed`",
        ),
        ("other.json", "unknown variant `speed`"),
        ("less.json", "less.json: no cost of memory_l3, which the mix asks for"),
        ("none.json", "none.json"),
    ] {
        let mut rtplan = Command::new(env!("CARGO_BIN_EXE_rtplan"));
        rtplan.current_dir(folder.path()).args(["predict", "--from", "a.json", "--to", to]);
        let output = rtplan.args(execution).args(["--mix", "memory_l3=1"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{to}: {stderr}");
        assert!(stderr.contains(says) && output.stdout.is_empty(), "{to}: {stderr}");
    }
}

/// Weights by hand, as [`Mix::new`] wants them.
#[test]
fn a_mix_of_no_shares_is_none() {
    let weights = |weight: f64| BTreeMap::from([(Component::Timer, weight)]);
    for wrong in [0.0, -1.0, f64::NAN, 1.5, 0.9] {
        assert!(Mix::new(weights(wrong)).is_err(), "{wrong}");
    }
}

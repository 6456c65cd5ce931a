use model::{Suite, suite};

use super::*;

/// One measured CPU, and one for everything else.
fn one() -> Cpus {
    Cpus::made_up(&[1], &[0])
}

fn shares(experiment: &Experiment) -> Vec<Shares> {
    Shares::of(experiment, Place { cpus: &one(), cpu: 1 })
}

fn check_one(experiment: &Experiment, sentinel: bool, limit: f64) -> Result<(), String> {
    check(experiment, sentinel, &one(), limit)
}

fn watch(experiment: &Experiment, limit: f64) -> Duration {
    sentinel(experiment, &one(), 1, limit)
}

fn suite(mechanism: &str, budget_us: u64) -> Suite {
    let text = format!(
        r#"
        name = "s"
        [[experiment]]
        name = "free"
        where = "host"
        tasks = ["30ms/150ms"]
        [[experiment]]
        name = "reserved"
        where = "guest"
        tasks = ["30ms/150ms"]
        reservation = {{ budget = "{budget_us}us", period = "50ms", mechanism = "{mechanism}" }}
    "#
    );
    suite::parse(&text, "s.toml").unwrap()
}

#[test]
fn what_does_not_fit_below_the_kernels_limit_is_refused() {
    let suite = suite("deadline", 46_000);
    let reserved = suite.experiment("reserved").unwrap();
    assert!(check_one(reserved, false, 0.95).is_ok());
    let error = check_one(reserved, true, 0.95).unwrap_err();
    assert!(
        error.contains("0.951 of CPU 1")
            && error.contains("46ms/50ms 0.920")
            && error.ends_with("lower the budgets by 0.002 of the CPU in all"),
        "{error}"
    );
    assert!(check_one(suite.experiment("free").unwrap(), true, 0.95).is_ok());
}

#[test]
fn every_vcpu_of_a_vm_that_runs_already_has_to_fit_beside_the_sentinel() {
    let text = r#"
        name = "s"
        [[experiment]]
        name = "e"
        [[experiment.vm]]
        name = "a"
        pid = 7
        vcpus = [{ budget = "8ms", period = "20ms" }]
        service = [{ web = { url = "http://127.0.0.1/", requests = 1 } }]
    "#;
    let of = |text: &str| suite::parse(text, "s.toml").unwrap().experiments.remove(0);
    assert_eq!(watch(&of(text), 0.95), sentinel::LEAST);
    let stays = of(&text.replace("pid = 7", "pid = 7\nplacement = \"global\""));
    assert!(shares(&stays).is_empty() && watch(&stays, 0.95) > sentinel::LEAST);
    let reservation: Reservation = "8ms/20ms".parse().unwrap();
    assert!(beside_the_sentinel(reservation, 2, 0.95).is_ok());
    let error = beside_the_sentinel("9.4ms/20ms".parse().unwrap(), 2, 0.95).unwrap_err();
    assert!(error.contains("2 vCPUs of 9.4ms/20ms each are 0.940"), "{error}");
}

#[test]
fn the_sentinel_gets_what_the_experiment_leaves() {
    let most = |budget_us, name: &str, limit| {
        watch(suite("deadline", budget_us).experiment(name).unwrap(), limit).as_micros()
    };
    assert_eq!(most(28_000, "reserved", 0.95), 200);
    assert_eq!(most(42_000, "reserved", 0.95), 88);
    assert_eq!(most(45_000, "reserved", 0.95), 40);
    assert_eq!(most(45_000, "free", 0.95), 200);
}

#[test]
fn all_that_is_admitted_fits_together() {
    let mut tried = 0;
    for mechanism in ["deadline", "timer-server"] {
        for budget_us in (1_000..50_000).step_by(997) {
            for limit in [0.8, 0.9, 0.95, 1.0] {
                let suite = suite(mechanism, budget_us);
                let reserved = suite.experiment("reserved").unwrap();
                if check_one(reserved, true, limit).is_err() {
                    continue;
                }
                tried += 1;
                let watch = share(watch(reserved, limit), sentinel::PERIOD);
                let all = shares(reserved)[0].all() + watch;
                assert!(all <= limit + 2.0 * ROUNDING, "{budget_us} {limit} {all}");
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn of_several_vms_the_sum_counts_and_every_part_is_named() {
    let text = r#"
        name = "s"
        [[experiment]]
        name = "two"
        [[experiment.vm]]
        name = "control"
        vcpus = [{ budget = "32ms", period = "50ms" }]
        service = [{ tasks = ["30ms/150ms"] }]
        [[experiment.vm]]
        name = "shop"
        vcpus = [{ budget = "6ms", period = "20ms" }]
        emulator = { budget = "1ms", period = "50ms" }
        service = [{ tasks = ["1ms/100ms"] }]
    "#;
    let of =
        |text: &str| check_one(&suite::parse(text, "s.toml").unwrap().experiments[0], true, 0.95);
    let error = of(text).unwrap_err();
    for part in ["0.991", "control` 32ms/50ms 0.640", "shop` 6ms/20ms 0.300", "its emulator 0.020"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    of(&text.replace("6ms/", "3ms/").replace("\"6ms\"", "\"3ms\"")).unwrap();
    // Each alone would fit.
    let law = "control = \"lfs\", min = \"5ms\", max = \"32ms\"";
    let adapting =
        text.replace("budget = \"32ms\"", law).replace("budget = \"6ms\"", "budget = \"4ms\"");
    let error = of(&adapting.replace("\"4ms\"", "\"14ms\"")).unwrap_err();
    assert!(error.contains("control` 32ms/50ms 0.640"), "one alone counts its greatest: {error}");
    let both = adapting.replace("budget = \"4ms\"", &law.replace("32ms", "16ms"));
    of(&both).unwrap();
    let experiment = &suite::parse(&both, "s.toml").unwrap().experiments[0];
    let left = adaptable(experiment, &one(), 1, 0.95);
    assert!((left - (0.95 - 0.02 - 0.03125)).abs() < 1e-5, "{left}");
    assert_eq!(watch(experiment, 0.95), sentinel::LEAST);
    // Their least budgets have to fit.
    let error = of(&both.replace("\"5ms\"", "\"15ms\"")).unwrap_err();
    assert!(error.contains("shop` 15ms/20ms 0.750"), "{error}");
    of(&text.replace("budget = \"32ms\", period = \"50ms\"", "")).unwrap();
}

/// Two measured CPUs; of a VM one vCPU on each, another VM and a load beside its second.
const TWO: &str = r#"
    name = "s"
    [host]
    measured_cpus = [1, 0]
    [[experiment]]
    name = "e"
    load = [{ cpu = 0, tasks = ["10ms/100ms"] }]
    [[experiment.vm]]
    name = "smp"
    vcpus = [{ cpu = 1, budget = "25ms", period = "50ms" }, { cpu = 0, budget = "10ms", period = "50ms" }]
    emulator = { budget = "1ms", period = "50ms" }
    service = [{ tasks = ["1ms/100ms"] }]
    [[experiment.vm]]
    name = "other"
    vcpus = [{ cpu = 0, budget = "10ms", period = "50ms" }]
    service = [{ tasks = ["1ms/100ms"] }]
"#;

#[test]
fn each_cpu_has_its_own_sum_and_is_named() {
    let of = |text: &str, cpus: &Cpus| {
        check(&suite::parse(text, "s.toml").unwrap().experiments[0], true, cpus, 0.95)
    };
    let left = Cpus::made_up(&[1, 0], &[2]);
    of(TWO, &left).unwrap();
    let much = TWO.replace("budget = \"25ms\"", "budget = \"46ms\"");
    let error = of(&much, &left).unwrap_err();
    for part in ["0.971 of CPU 1", "vm `smp` 46ms/50ms 0.920, its emulator 0.020", "by 0.022"] {
        assert!(error.contains(part) && !error.contains("other"), "{part}: {error}");
    }
    let second = TWO.replace("{ cpu = 0, budget = \"10ms\"", "{ cpu = 0, budget = \"25ms\"");
    let error = of(&second, &left).unwrap_err();
    assert!(error.contains("1.031 of CPU 0") && error.contains("`other` 25ms"), "{error}");
}

#[test]
fn where_no_cpu_is_left_for_the_host_less_of_each_may_be_taken() {
    let shared = Cpus::made_up(&[1, 0], &[0]);
    let of = |text: &str| {
        let suite = suite::parse(text, "s.toml").unwrap();
        check(&suite.experiments[0], true, &shared, 0.95)
    };
    // 0.551 and 0.531, the load included.
    of(TWO).unwrap();
    let error = of(&TWO.replace("25ms", "30ms")).unwrap_err();
    assert!(
        error.contains("0.651 of CPU 1")
            && error.contains("at most 0.6")
            && error.contains("by 0.052"),
        "{error}"
    );
    let error = of(&TWO.replace("10ms/100ms", "20ms/100ms")).unwrap_err();
    assert!(error.contains("0.631 of CPU 0") && error.contains("load 0.200"), "{error}");
    let service = "service = [{ name = \"own\", cpu = 1, tasks = [\"10ms/100ms\"] }]";
    let vm = "[[experiment.vm]]";
    let error = of(&TWO.replacen(vm, &format!("{service}\n{vm}"), 1)).unwrap_err();
    assert!(error.contains("service `own` 0.100"), "{error}");
    let fifo = TWO.replace("name = \"other\"", "name = \"other\"\nmechanism = \"fifo-below\"");
    assert!(of(&fifo).unwrap_err().contains("vm `other` 1.000"));
    let suite = suite::parse(TWO, "s.toml").unwrap();
    let most = |cpu| sentinel(&suite.experiments[0], &shared, cpu, 0.95).as_micros();
    assert_eq!((most(1), most(0)), (64, 80), "what is left of 0.6");
}

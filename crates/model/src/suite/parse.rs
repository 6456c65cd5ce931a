//! From text to a checked [`Suite`], or to one error that names file, line and key.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{Suite, cpus, sweep, system, validate};

/// Why a suite is refused; one line, with the file, and the line and key where there are some.
#[derive(Debug, Error)]
pub enum SuiteError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// The file.
        file: String,
        /// The cause.
        #[source]
        error: std::io::Error,
    },
    /// It is not TOML, has an unknown key, or a value of the wrong type.
    #[error("{file}:{line}: {}{message}, in the line `{text}`", key.as_ref().map(|key| format!("key `{key}`: ")).unwrap_or_default())]
    Syntax {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The line itself.
        text: String,
        /// The key whose value is wrong, where it can be told.
        key: Option<String>,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// It reads well, but breaks a rule.
    #[error("{file}: {message}")]
    Rule {
        /// The file.
        file: String,
        /// Which experiment and key break which rule.
        message: String,
    },
}

/// Reads and checks a suite file. Disks and kernels of VMs are then absolute paths.
///
/// # Errors
/// One [`SuiteError`], the first thing found.
pub fn read(path: &Path) -> Result<Suite, SuiteError> {
    let file = path.display().to_string();
    let text =
        fs::read_to_string(path).map_err(|error| SuiteError::Read { file: file.clone(), error })?;
    let mut suite = parse(&text, &file)?;
    system::resolve(&mut suite, path.parent().unwrap_or(Path::new("")));
    Ok(suite)
}

/// Parses and checks a suite; `file` is its name in errors. Disks and kernels of VMs are left as they
/// are written.
///
/// # Errors
/// One [`SuiteError`], the first thing found.
pub fn parse(text: &str, file: &str) -> Result<Suite, SuiteError> {
    let mut suite: Suite = toml_of(text, file)?;
    cpus::settle(&mut suite)
        .and_then(|()| validate::suite(&suite))
        .and_then(|()| sweep::expand(&mut suite))
        .map_err(|message| SuiteError::Rule { file: file.to_owned(), message })?;
    Ok(suite)
}

/// Reads TOML; `file` is its name in errors.
///
/// # Errors
/// [`SuiteError::Syntax`].
pub(crate) fn toml_of<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, SuiteError> {
    toml::from_str(text).map_err(|error| syntax(text, file, &error))
}

fn syntax(text: &str, file: &str, error: &toml::de::Error) -> SuiteError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let own = text[line_start..].lines().next().unwrap_or_default().trim();
    let key = own
        .split_once('=')
        .map(|(key, _)| key.trim().to_owned())
        .filter(|key| !key.is_empty() && !key.starts_with(['#', '[']));
    SuiteError::Syntax {
        file: file.to_owned(),
        line: text[..start].matches('\n').count() + 1,
        text: own.to_owned(),
        key,
        // The library's own message may go on in further lines.
        message: error.message().replace('\n', ", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: &str = r#"
name = "small"
[[experiment]]
name = "fig4-loaded"
where = "guest"
tasks = ["30ms/150ms", "50ms/200ms"]
load = { tasks = ["50ms/120ms", "20ms/80ms"] }
reservation = { budget = "28ms", period = "50ms" }
"#;

    fn error(text: &str) -> String {
        parse(text, "s.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_small_suite_gets_the_documented_defaults() {
        let suite = parse(SMALL, "s.toml").unwrap();
        let experiment = suite.experiment("fig4-loaded").unwrap();
        assert_eq!(experiment.repetitions, 1);
        let reservation = experiment.vms[0].reservation().unwrap();
        assert_eq!(reservation.mechanism, crate::Mechanism::Deadline);
        assert!((suite.noise.max_stalled - 0.005).abs() < 1e-12);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let suite = parse(SMALL, "s.toml").unwrap();
        let text = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&text, "s.toml").unwrap(), suite);
    }

    #[test]
    fn how_to_simulate_is_read_and_written_back() {
        let text = format!(
            "name = \"s\"\n[simulate]\ncalibrate = \"results/x\"\ntick = \"4ms\"\nseed = 7\n{}",
            SMALL.replace("name = \"small\"", "")
        );
        let suite = parse(&text, "s.toml").unwrap();
        assert_eq!(suite.simulate.seed, 7);
        assert_eq!(suite.simulate.tick, Some(std::time::Duration::from_millis(4)));
        let again = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&again, "s.toml").unwrap(), suite);
        assert!(!toml::to_string(&parse(SMALL, "s.toml").unwrap()).unwrap().contains("simulate"));
        assert!(error(&text.replace("seed", "sead")).contains("sead"));
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let cases = [
            (
                SMALL.replace("name = \"small\"", "name = \"small\"\ncolour = 3"),
                "s.toml:3",
                "colour",
            ),
            (SMALL.replace("\"fig4-loaded\"", "4"), "s.toml:4", "`name`"),
            (SMALL.replace("30ms/", "30/"), "s.toml:6", "no unit"),
            (SMALL.replace("\"28ms\"", "\"-5ms\""), "s.toml:8", "negative"),
            (SMALL.replace("budget", "burst = \"1ms\", budget"), "s.toml", "has no quota"),
            (SMALL.replace("budget", "placement = \"slice\", budget"), "s.toml", "no slice"),
            (SMALL.replace("budget", "placement = \"moon\", budget"), "s.toml:8", "moon"),
            (SMALL.replace("\"28ms\"", "\"58ms\""), "s.toml", "greater than the period"),
            (SMALL.replace("\"guest\"", "\"moon\""), "s.toml:5", "moon"),
            (format!("{SMALL}{}", SMALL.replace("name = \"small\"", "")), "s.toml", "fig4-loaded"),
            (SMALL.replace("30ms/150ms", "300ms/150ms"), "s.toml:6", "greater than the period"),
            (SMALL.replace("fig4-loaded", "../x"), "s.toml", "letters"),
        ];
        for (text, place, what) in cases {
            let error = error(&text);
            assert!(error.contains(place) && error.contains(what), "{place} {what}: {error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
        let shown = error(&SMALL.replace("30ms/", "30/"));
        assert!(shown.contains("in the line `tasks = [\"30/150ms\", \"50ms/200ms\"]`"), "{shown}");
    }

    const TENANTS: &str = r#"
name = "tenants"
[[experiment]]
name = "two"
load = [{ cpu = 1, tasks = ["50ms/120ms"] }]
service = [{ name = "own", tasks = ["1ms/10ms"] }]
[[experiment.vm]]
name = "control"
vcpus = [{ cpu = 1, budget = "32ms", period = "50ms" }]
service = [{ tasks = ["30ms/150ms", "50ms/200ms"] }]
[[experiment.vm]]
name = "shop"
vcpus = [{ budget = "3ms", period = "20ms" }]
mechanism = "timer-server"
service = [{ web = { clients = 4 } }, { tasks = ["1ms/100ms"] }]
"#;

    #[test]
    fn several_vms_have_several_services() {
        let suite = parse(TENANTS, "s.toml").unwrap();
        let experiment = &suite.experiments[0];
        let name = |own: crate::suite::Workload| {
            let vm = own.vm.map_or("-", |vm| &vm.name);
            format!("{vm}/{}", own.service.map_or("-", |service| &service.name))
        };
        let names: Vec<_> = experiment.workloads().into_iter().map(name).collect();
        assert_eq!(names, ["-/own", "control/tasks", "shop/web", "shop/tasks"]);
        let names = experiment.workloads().into_iter().map(crate::suite::Workload::name);
        let wanted = ["two.own", "two.control", "two.shop.web", "two.shop.tasks"];
        assert!(names.eq(wanted));
        let shop = &experiment.vms[1];
        assert_eq!(shop.reservation().unwrap().mechanism, crate::Mechanism::TimerServer);
        // Who names no CPU is on the one that the others name.
        assert_eq!((shop.vcpus[0].cpu, &*suite.host.measured_cpus), (Some(1), &[1][..]));
        assert_eq!(experiment.workloads()[2].web().unwrap().requests, None);
        let control = experiment.workloads()[1];
        assert_eq!(control.load().unwrap().tasks.len(), 1);
        let neighbours: Vec<_> = control.neighbours().map(|vm| vm.name.as_str()).collect();
        assert_eq!(neighbours, ["shop"]);
        let text = toml::to_string(&suite).unwrap();
        assert_eq!(parse(&text, "s.toml").unwrap(), suite);
        let json = serde_json::to_string(&suite).unwrap();
        assert_eq!(serde_json::from_str::<Suite>(&json).unwrap(), suite);
    }

    #[test]
    fn the_short_form_is_one_vm_with_one_service() {
        let written_out = r#"
name = "small"
[[experiment]]
name = "fig4-loaded"
load = [{ tasks = ["50ms/120ms", "20ms/80ms"] }]
[[experiment.vm]]
name = "vm"
vcpus = [{ budget = "28ms", period = "50ms" }]
service = [{ tasks = ["30ms/150ms", "50ms/200ms"] }]
"#;
        assert_eq!(parse(written_out, "s.toml").unwrap(), parse(SMALL, "s.toml").unwrap());
    }

    const RUNNING: &str = r#"
name = "s"
[[experiment]]
name = "e"
duration = "9s"
[[experiment.vm]]
name = "shop"
libvirt = "shop"
vcpus = [{ budget = "3ms", period = "20ms" }]
placement = "slice"
service = [{ web = { url = "http://127.0.0.1:8080/" } }]
"#;

    #[test]
    fn a_vm_that_runs_already_is_found_and_asked_by_url() {
        let suite = parse(RUNNING, "s.toml").unwrap();
        let found = suite.experiments[0].vms[0].found.clone();
        assert_eq!(found, Some(crate::suite::Found::Libvirt("shop".to_owned())));
        let text = toml::to_string(&suite).unwrap();
        assert!(!text.contains("emulator"), "{text}");
        assert_eq!(parse(&text, "s.toml").unwrap(), suite);
        let web = "{ web = { url = \"http://127.0.0.1:8080/\" } }";
        let with = |key: &str| RUNNING.replace("libvirt = \"shop\"", key);
        let again = format!("{RUNNING}{}", &RUNNING[RUNNING.find("[[experiment.vm]]").unwrap()..]);
        for (text, what) in [
            (RUNNING.replace(web, "{ wild = \"spin\" }, {web={}}"), "is somebody else's"),
            (RUNNING.replace(web, "{ web = {} }"), "asked by URL"),
            (RUNNING.replace(web, "{ web = { command = [\"p\"], listen = 1 } }"), "asked by URL"),
            (
                with("pid = 7").replace(web, "{ probe = \"clock\" }"),
                "there is no way into a VM that `qmp` or `pid` finds",
            ),
            (with("libvirt = \"\""), "key `libvirt` is empty"),
            (with("qmp = \"\""), "key `qmp` is empty"),
            (with("pid = 1"), "above 1"),
            (with("pid = \"web\""), "pid"),
            (with("pid = 7\nqmp = \"/run/s\""), "keys `qmp` and `pid`"),
            (with("pid = 7\nmemory_mib = 512"), "keys `pid` and `memory_mib`"),
            (with("pid = 7\nemulator = \"shared\""), "keys `pid` and `emulator`"),
            (with("domain = \"shop\""), "domain"),
            (again.replacen("\"shop\"", "\"till\"", 1), "name the same running VM"),
        ] {
            let error = error(&text);
            assert!(error.contains(what) && !error.contains('\n'), "{what}: {error}");
        }
    }

    /// Two VMs with a web service each, of four clients.
    fn ports(first: u16, second: u16) -> String {
        let vm = |name: &str, port: u16| {
            format!(
                "[[experiment.vm]]\nname = \"{name}\"\nvcpus = [{{}}]\nservice = [{{ web = {{ \
                 clients = 4, port = {port} }} }}]\n"
            )
        };
        format!("name = \"s\"\n[[experiment]]\nname = \"e\"\n{}{}", vm("a", first), vm("b", second))
    }

    #[test]
    fn web_services_have_ports_of_their_own() {
        parse(&ports(8080, 8084), "s.toml").unwrap();
        let tap = "[guest]\nnetwork = { tap = \"br0\", address = \"192.168.7.2/24\" }\n";
        let text = ports(8080, 8090).replace("[[experiment]]", &format!("{tap}[[experiment]]"));
        assert!(error(&text).contains("same address"), "{}", error(&text));
    }

    #[test]
    fn errors_in_the_general_form_are_told() {
        let cases = [
            (TENANTS.replace("name = \"shop\"", "name = \"control\""), "`control` is there twice"),
            (TENANTS.replace("\"3ms\"", "\"30ms\""), "vm `shop`: reservation"),
            (TENANTS.replace("budget = \"3ms\", ", ""), "key `vcpus`: `budget` is missing"),
            (
                TENANTS.replace("[{ cpu = 1, budget = \"32ms\", period = \"50ms\" }]", "[]"),
                "`vcpus`",
            ),
            (
                TENANTS.replace("{ web = { clients = 4 } }", "{}"),
                "`tasks`, `web`, `wild` or `probe`",
            ),
            (
                TENANTS.replace("{ web = { clients = 4 } }", "{ web = {}, probe = \"clock\" }"),
                "key `probe`: a service is one of",
            ),
            (TENANTS.replace("{ web = { clients = 4 } }", "{ probe = \"calendar\" }"), "calendar"),
            (
                TENANTS.replace(
                    "{ web = { clients = 4 } }",
                    "{ probe = \"clock\" }, { name = \"more\", probe = \"clock\" }",
                ),
                "one probe of the clock",
            ),
            (TENANTS.replace("{ web = { clients = 4 } }", "{ tasks = [\"1ms/9ms\"] }"), "twice"),
            (
                TENANTS.replace("name = \"two\"", "name = \"two\"\nwhere = \"guest\""),
                "`where` and `vm`",
            ),
            (
                TENANTS.replace("name = \"two\"", "name = \"two\"\ntasks = [\"1ms/2ms\"]"),
                "key `tasks` belongs",
            ),
            (
                TENANTS.replace(
                    "[{ cpu = 1, tasks",
                    "[{ tasks = [\"1ms/9ms\"], cpu = 1 }, { cpu = 1, tasks",
                ),
                "one load",
            ),
            (TENANTS.replace("mechanism", "mechanics"), "mechanics"),
            (TENANTS.replace("cpu = 1, budget", "cpu = 2, budget"), "CPU 2 is not measured, 1 is"),
            (
                TENANTS.replace("name = \"tenants\"", "name = \"s\"\n[host]\nmeasured_cpus = [0]"),
                "CPU 1 is not",
            ),
            (TENANTS.replace("clients = 4", "clients = 0"), "`web.clients` is 0"),
            (
                TENANTS.replace("{ tasks = [\"1ms/100ms\"] }", "{ name = \"w\", web = {} }"),
                "one web service",
            ),
            (TENANTS.replace("name = \"own\"", "name = \"shop\""), "names a VM and a service"),
            (
                TENANTS.replace("{ web = { clients = 4 } }", "{ web = {}, wild = \"spin\" }"),
                "one of",
            ),
            (TENANTS.replace("{ web = { clients = 4 } }", "{ wild = \"tame\" }"), "tame"),
            (
                TENANTS.replace("name = \"own\", tasks = [\"1ms/10ms\"]", "wild = \"spin\""),
                "`wild` is for a VM",
            ),
            (
                ports(8080, 8083),
                "needs ports 8083 to 8086, and service `web` of `a` has 8080 to 8083",
            ),
            (TENANTS.replace("name = \"shop\"", "name = \"host\""), "stands for the host itself"),
            (
                TENANTS.replace("[{ budget = \"3ms\", period = \"20ms\" }]", "[{}]"),
                "vm `shop`: key `mechanism` without a reservation",
            ),
            (
                ports(8080, 8090).replace("name = \"e\"", "name = \"e\"\nduration = \"0s\""),
                "key `duration` is 0",
            ),
            (SMALL.replace("where = \"guest\"\n", ""), "key `tasks` belongs"),
            ("name = \"s\"\n[[experiment]]\nname = \"x\"\n".to_owned(), "key `where` is missing"),
            (SMALL.replace("\"guest\"", "\"host\""), "a reservation is for a VM"),
        ];
        for (text, what) in cases {
            let error = error(&text);
            assert!(error.starts_with("s.toml:") && error.contains(what), "{what}: {error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(at in 0..SMALL.len(), with in ".{0,8}") {
            let mut text = SMALL.to_owned();
            text.replace_range(at..=at, &with);
            let _ = parse(&text, "s.toml");
        }
    }
}

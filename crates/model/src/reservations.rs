//! Which libvirt domains come with a reservation: the file `/etc/rt-vm-bench/reservations.toml`, as
//! plain data. `docs/formats.md` has its keys.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use crate::{
    Mechanism, Placement, Reservation,
    suite::{SuiteError, toml_of},
};

/// Where it is, unless another is named.
pub const FILE: &str = "/etc/rt-vm-bench/reservations.toml";

/// What is reserved for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// What enforces it.
    pub mechanism: Mechanism,
    /// Where the vCPU threads are meanwhile; none where it is to be chosen.
    pub placement: Option<Placement>,
    /// For whom how much.
    pub shares: Vec<Share>,
}

/// A reservation of some vCPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Numbers of the vCPUs, from 0; empty: all.
    pub vcpus: Vec<usize>,
    /// (Q, P) of each; none for mechanisms that have no budget.
    pub reservation: Option<Reservation>,
}

/// The domains of the file, by name.
pub type Reservations = BTreeMap<String, Reserved>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    domain: BTreeMap<String, Domain>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    reservation: Option<Reservation>,
    /// By number; TOML's keys are text.
    #[serde(default)]
    vcpu: BTreeMap<String, Reservation>,
    mechanism: Option<Mechanism>,
    placement: Option<Placement>,
}

/// Reads and checks the file.
///
/// # Errors
/// The first thing that is wrong, with file, and line or domain.
pub fn read(path: &Path) -> Result<Reservations, SuiteError> {
    let file = path.display().to_string();
    let text =
        fs::read_to_string(path).map_err(|error| SuiteError::Read { file: file.clone(), error })?;
    parse(&text, &file)
}

/// Parses and checks; `file` is the file's name in errors.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str, file: &str) -> Result<Reservations, SuiteError> {
    let written: Written = toml_of(text, file)?;
    let checked = |(name, domain): (String, Domain)| match domain.checked() {
        Ok(reserved) => Ok((name, reserved)),
        Err(message) => Err(SuiteError::Rule {
            file: file.to_owned(),
            message: format!("domain `{name}`: {message}"),
        }),
    };
    written.domain.into_iter().map(checked).collect()
}

impl Domain {
    fn checked(self) -> Result<Reserved, String> {
        let Self { reservation, vcpu, mechanism, placement } = self;
        let mechanism = mechanism.unwrap_or(Mechanism::Deadline);
        let each_its_own = matches!(mechanism, Mechanism::Deadline | Mechanism::DeadlineReclaim);
        let shares = match (reservation, vcpu.is_empty()) {
            (Some(_), false) => {
                return Err(
                    "it has both `reservation`, which is for all vCPUs, and `vcpu`; leave \
                            one out"
                        .to_owned(),
                );
            }
            (Some(_), true) if !mechanism.has_budget() => {
                return Err(format!("`{mechanism}` has no budget; leave `reservation` out"));
            }
            (None, true) if mechanism.has_budget() => {
                return Err("it has neither `reservation` nor `vcpu`; give, for example, \
                            reservation = \"10ms/50ms\""
                    .to_owned());
            }
            (None, false) if !each_its_own => {
                return Err(format!(
                    "`{mechanism}` treats all vCPUs alike; give `reservation`, or choose \
                     `deadline` or `deadline-reclaim` for budgets by `vcpu`"
                ));
            }
            (reservation, true) => vec![Share { vcpus: Vec::new(), reservation }],
            (None, false) => vcpu.into_iter().map(of_vcpu).collect::<Result<_, _>>()?,
        };
        Ok(Reserved { mechanism, placement, shares })
    }
}

fn of_vcpu((number, reservation): (String, Reservation)) -> Result<Share, String> {
    let vcpu = number.parse().map_err(|_no_number| {
        format!("`vcpu.{number}`: name a vCPU by its number, for example `0 = \"10ms/50ms\"`")
    })?;
    Ok(Share { vcpus: vec![vcpu], reservation: Some(reservation) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
[domain.web]
reservation = "10ms/50ms"
mechanism = "timer-server"
placement = "slice"

[domain."data base-1"]
vcpu = { 0 = "10ms/50ms", 2 = "5ms/100ms" }

[domain.first]
mechanism = "fifo-above"
"#;

    fn error(text: &str) -> String {
        parse(text, "r.toml").unwrap_err().to_string()
    }

    fn reservation(text: &str) -> Option<Reservation> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn domains_are_read_by_name() {
        let read = parse(WHOLE, "r.toml").unwrap();
        let web = &read["web"];
        assert_eq!(
            (web.mechanism, web.placement),
            (Mechanism::TimerServer, Some(Placement::Slice))
        );
        assert_eq!(web.shares, [Share { vcpus: vec![], reservation: reservation("10ms/50ms") }]);
        let base = &read["data base-1"];
        assert_eq!((base.mechanism, base.placement), (Mechanism::Deadline, None));
        let share = |vcpu, text| Share { vcpus: vec![vcpu], reservation: reservation(text) };
        assert_eq!(base.shares, [share(0, "10ms/50ms"), share(2, "5ms/100ms")]);
        assert_eq!(read["first"].shares, [Share { vcpus: vec![], reservation: None }]);
        assert_eq!(parse("# nothing\n", "r.toml").unwrap(), Reservations::new());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let web = "[domain.web]\n";
        let cases = [
            (format!("{web}reservatoin = \"1ms/5ms\""), "r.toml:2", "reservatoin"),
            (format!("{web}reservation = \"6ms/5ms\""), "r.toml:2", "greater than the period"),
            (format!("{web}reservation = 5"), "r.toml:2", "`reservation`"),
            (format!("{web}placement = \"moon\""), "r.toml:2", "moon"),
            (format!("{web}mechanism = \"magic\""), "r.toml:2", "magic"),
            (format!("{web}vcpu = {{ one = \"1ms/5ms\" }}"), "domain `web`", "vcpu.one"),
            (format!("{web}vcpu = {{ 0 = \"1ms\" }}"), "r.toml:2", "budget/period"),
            (
                format!("{web}vcpu = {{ 0 = \"1ms/5ms\" }}\nreservation = \"1ms/5ms\""),
                "web",
                "both",
            ),
            (
                format!("{web}{}", "vcpu = { 0 = \"1ms/5ms\" }\nmechanism = \"cfs-weight\""),
                "web",
                "alike",
            ),
            (
                format!("{web}reservation = \"1ms/5ms\"\nmechanism = \"fifo-above\""),
                "web",
                "no budget",
            ),
            (web.to_owned(), "web", "neither"),
            (format!("{web}{web}"), "r.toml:2", "duplicate"),
            ("domains = 1".to_owned(), "r.toml:1", "domains"),
        ];
        for (text, place, what) in cases {
            let said = error(&text);
            assert!(said.contains(place) && said.contains(what), "{text}: {said}");
            assert!(said.starts_with("r.toml") && !said.contains('\n'), "{said}");
        }
        let missing = read(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(missing.starts_with("/no/such/file: "), "{missing}");
    }

    #[test]
    fn mutated_files_are_read_or_refused_in_one_line() {
        mutate::inputs(&[WHOLE.as_bytes().to_vec()], |bytes| {
            if let Err(error) = parse(&String::from_utf8_lossy(bytes), "r.toml") {
                let said = error.to_string();
                assert!(said.starts_with("r.toml") && said.len() < 4000, "{said}");
            }
        });
    }

    /// What the package installs is a comment, and right once its signs are taken away.
    #[test]
    fn the_packages_file_is_right_without_its_comment_signs() {
        let shipped = include_str!("../../../packaging/reservations.toml");
        assert_eq!(parse(shipped, "r.toml").unwrap(), Reservations::new());
        let keys: String = shipped
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.starts_with('[') || line.contains(" = "))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(parse(&keys, "r.toml").unwrap().len(), 2, "{keys}");
    }
}

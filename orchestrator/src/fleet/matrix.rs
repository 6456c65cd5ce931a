//! Variants of a suite: keys of its TOML, each with several values.

use std::str::FromStr;

use model::Suite;
use toml::{Table, Value};

/// A key and its values: `guest.accelerator=kvm,tcg`.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The dotted path; an experiment is named in it: `experiment.fig3.duration`.
    pub key: String,
    /// What it is set to, one after the other.
    pub values: Vec<String>,
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not `key=value,value`, for example `guest.accelerator=kvm,tcg`")
        };
        let (key, values) = text.split_once('=').ok_or_else(wrong)?;
        let values: Vec<String> = values.split(',').map(|own| own.trim().to_owned()).collect();
        let key = key.trim();
        if key.split('.').any(str::is_empty) || values.iter().any(String::is_empty) {
            return Err(wrong());
        }
        if let Some(twice) = values.iter().enumerate().find(|own| values[..own.0].contains(own.1)) {
            return Err(format!("`{text}` has the value `{}` twice", twice.1));
        }
        if key == "name" {
            return Err("key `name`: variants get names of their own".to_owned());
        }
        Ok(Self { key: key.to_owned(), values })
    }
}

/// A suite as a file: its name and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// The suite's name, with the values behind it.
    pub name: String,
    /// The TOML.
    pub text: String,
}

/// All combinations of the values of those axes that this suite has; the suite as it is where it has
/// none. Which axes it has comes with them.
///
/// # Errors
/// A text that is no suite, or a value that makes it none, with the suite's own error.
pub fn variants(
    text: &str,
    file: &str,
    axes: &[Axis],
) -> Result<(Vec<Variant>, Vec<bool>), String> {
    let suite = model::suite::parse(text, file).map_err(|error| error.to_string())?;
    absolute(&suite).map_err(|message| format!("{file}: {message}"))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let has: Vec<bool> =
        axes.iter().map(|own| place(&mut table.clone(), &own.key).is_some()).collect();
    let own: Vec<&Axis> = axes.iter().zip(&has).filter(|own| *own.1).map(|own| own.0).collect();
    if own.is_empty() {
        return Ok((vec![Variant { name: suite.name, text: text.to_owned() }], has));
    }
    let mut all = vec![(table, suite.name, String::new())];
    for axis in own {
        all = all
            .iter()
            .flat_map(|one| axis.values.iter().map(move |value| with(one, axis, value)))
            .collect();
    }
    let written = all.into_iter().map(|(mut table, name, said)| {
        table.insert("name".to_owned(), Value::String(name.clone()));
        let body = toml::to_string(&table).map_err(|error| error.to_string())?;
        let text = format!("# {file} with{said}, written by `orchestrator submit`.\n{body}");
        let wrong = |error| format!("--matrix{said}: {error}");
        model::suite::parse(&text, file).map_err(|error| wrong(error.to_string()))?;
        Ok(Variant { name, text })
    });
    Ok((written.collect::<Result<_, String>>()?, has))
}

/// Refuses files that are named relative to the suite's file, which goes to other hosts alone.
fn absolute(suite: &Suite) -> Result<(), String> {
    for experiment in &suite.experiments {
        let files = experiment.vms.iter().filter_map(|vm| vm.system.file());
        if let Some((key, file)) = files.into_iter().find(|(_, file)| file.is_relative()) {
            return Err(format!(
                "experiment `{}`: key `{key}`: {} is relative to the suite's file, which goes to \
                 other hosts alone; give an absolute path, at which each of them has it",
                experiment.name,
                file.display()
            ));
        }
    }
    Ok(())
}

type Written = (Table, String, String);

fn with((table, name, said): &Written, axis: &Axis, value: &str) -> Written {
    let mut table = table.clone();
    if let Some(place) = place(&mut table, &axis.key) {
        place.0.insert(place.1, typed(value));
    }
    let word: String =
        value.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    (table, format!("{name}-{word}"), format!("{said} {}={value}", axis.key))
}

/// As TOML has it where it can be read as that; else a text, so that no quotes are needed.
fn typed(value: &str) -> Value {
    let parsed = format!("own = {value}").parse::<Table>();
    let own = parsed.ok().filter(|own| own.len() == 1).and_then(|mut own| own.remove("own"));
    own.unwrap_or_else(|| Value::String(value.to_owned()))
}

/// The table in which a dotted key stands, and its last part; tables that are not there are made.
/// None where the key names an experiment that is not there, or a table that is a value.
fn place<'a>(table: &'a mut Table, key: &str) -> Option<(&'a mut Table, String)> {
    let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut here = table;
    let mut parts = path.split('.').filter(|part| !part.is_empty());
    while let Some(part) = parts.next() {
        let next = here.entry(part).or_insert_with(|| Value::Table(Table::new()));
        here = match next {
            Value::Table(own) => own,
            Value::Array(all) => {
                let name = parts.next()?;
                let named =
                    |own: &&mut Table| own.get("name").and_then(Value::as_str) == Some(name);
                all.iter_mut().filter_map(Value::as_table_mut).find(named)?
            }
            _ => return None,
        };
    }
    Some((here, last.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: &str = r#"
name = "small"
[guest]
accelerator = "tcg"
[[experiment]]
name = "a"
where = "guest"
tasks = ["3ms/150ms"]
reservation = { budget = "28ms", period = "50ms" }
"#;

    fn of(axes: &[&str]) -> Result<(Vec<Variant>, Vec<bool>), String> {
        let axes: Vec<Axis> = axes.iter().map(|own| own.parse().unwrap()).collect();
        variants(SUITE, "small.toml", &axes)
    }

    #[test]
    fn files_go_by_absolute_paths() {
        let own = |path: &str| {
            let text = SUITE.replace("where =", &format!("disk = \"{path}\"\nwhere ="));
            variants(&text, "small.toml", &[])
        };
        let error = own("a.qcow2").unwrap_err();
        assert!(error.starts_with("small.toml: experiment `a`: key `disk`: a.qcow2"), "{error}");
        assert!(own("/images/a.qcow2").is_ok());
    }

    #[test]
    fn every_combination_is_a_suite_of_its_own_name() {
        let (all, has) =
            of(&["guest.memory_mib=256,512", "experiment.a.reservation.budget=20ms,30ms"]).unwrap();
        let names: Vec<&str> = all.iter().map(|own| own.name.as_str()).collect();
        assert_eq!(names, ["small-256-20ms", "small-256-30ms", "small-512-20ms", "small-512-30ms"]);
        assert_eq!(has, [true, true]);
        let suite = model::suite::parse(&all[3].text, "x").unwrap();
        assert_eq!((suite.guest.memory_mib, suite.name.as_str()), (512, "small-512-30ms"));
        let own = suite.experiments[0].vms[0].reservation().unwrap();
        assert_eq!(own.budget, std::time::Duration::from_millis(30));
        let first = all[3].text.lines().next().unwrap();
        assert!(
            first.contains("guest.memory_mib=512 experiment.a.reservation.budget=30ms"),
            "{first}"
        );
    }

    #[test]
    fn without_a_matrix_the_file_is_as_it_was() {
        let (all, _) = of(&[]).unwrap();
        assert_eq!(all, [Variant { name: "small".into(), text: SUITE.into() }]);
    }

    #[test]
    fn a_key_in_a_table_that_the_file_does_not_have_is_set() {
        let (all, _) = of(&["host.quiet=true,false"]).unwrap();
        assert!(model::suite::parse(&all[0].text, "x").unwrap().host.quiet);
    }

    #[test]
    fn keys_that_a_suite_does_not_have_are_told_apart_from_bad_values() {
        let (all, has) = of(&["experiment.b.duration=1s,2s"]).unwrap();
        assert_eq!((all.len(), has), (1, vec![false]));
        let unknown = of(&["guest.colour=red,blue"]).unwrap_err();
        assert!(
            unknown.contains("guest.colour=red") && unknown.contains("unknown field"),
            "{unknown}"
        );
        let bad = of(&["guest.accelerator=moon"]).unwrap_err();
        assert!(bad.contains("moon"), "{bad}");
    }

    #[test]
    fn malformed_axes_are_refused() {
        for text in ["guest", "=1", "a..b=1", "a=1,,2", "a=1,1", "name=x"] {
            assert!(text.parse::<Axis>().is_err(), "{text}");
        }
    }
}

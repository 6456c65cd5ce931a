//! A demand that changes for some time: `10s..20s*2`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Task, TaskSet, duration};

/// Jobs that are released from one instant to another, counted from the first release, have so many
/// times the execution time. Written `FROM..TO*TIMES`; the end is not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Surge {
    from: Duration,
    to: Duration,
    thousandths: u32,
}

impl Surge {
    /// When it begins.
    #[must_use]
    pub fn from(self) -> Duration {
        self.from
    }

    /// When it ends.
    #[must_use]
    pub fn to(self) -> Duration {
        self.to
    }

    /// How much of its execution time a job has that is released at this instant.
    #[must_use]
    pub fn at(self, release: Duration) -> f64 {
        if (self.from..self.to).contains(&release) { self.times() } else { 1.0 }
    }

    fn times(self) -> f64 {
        f64::from(self.thousandths) / 1e3
    }

    /// The tasks with the greatest execution times that they ever have.
    ///
    /// # Errors
    /// One sentence, for a task that would take longer than its period or deadline.
    pub fn greatest(self, tasks: &TaskSet) -> Result<TaskSet, String> {
        let of = |task: &Task| {
            let execution = task.execution().mul_f64(self.times().max(1.0));
            Task::new(execution, task.period(), task.deadline())
                .map_err(|error| format!("`{self}` of task {task}: {error}"))
        };
        tasks.iter().map(of).collect::<Result<_, _>>().map(TaskSet)
    }
}

impl FromStr for Surge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || format!("`{text}` is not a surge; write FROM..TO*TIMES, for example `10s..20s*2`");
        let (span, times) = text.split_once('*').ok_or_else(form)?;
        let (from, to) = span.split_once("..").ok_or_else(form)?;
        let time = |part| duration::parse(part).map_err(|error| format!("surge `{text}`: {error}"));
        let (from, to) = (time(from)?, time(to)?);
        let times: f64 = times.trim().parse().map_err(|_parse| form())?;
        if from >= to {
            return Err(format!("surge `{text}`: it ends before it begins; give FROM below TO"));
        }
        let thousandths = (times * 1e3).round();
        if !((1.0..=1e6).contains(&thousandths) && (times * 1e3 - thousandths).abs() < 1e-6) {
            return Err(format!(
                "surge `{text}`: TIMES is above 0 and at most 1000, with three decimals at most"
            ));
        }
        Ok(Self { from, to, thousandths: thousandths as u32 })
    }
}

impl fmt::Display for Surge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = duration::format;
        write!(f, "{}..{}*{}", text(self.from), text(self.to), self.times())
    }
}

impl Serialize for Surge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Surge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn jobs_released_in_it_take_longer() {
        let surge: Surge = "10s..20s*2".parse().unwrap();
        let at = |seconds| surge.at(Duration::from_secs(seconds));
        assert_eq!([at(0), at(10), at(19), at(20)], [1.0, 2.0, 2.0, 1.0]);
        let tasks: TaskSet = TaskSet(vec!["15ms/150ms".parse().unwrap()]);
        assert_eq!(surge.greatest(&tasks).unwrap().0, ["30ms/150ms".parse().unwrap()]);
        // What lets them take less needs no more.
        let less: Surge = "10s..20s*0.5".parse().unwrap();
        assert_eq!(less.greatest(&tasks).unwrap(), tasks);
        let error = "0..1s*11".parse::<Surge>().unwrap().greatest(&tasks).unwrap_err();
        assert!(error.contains("`0..1s*11` of task 15ms/150ms"), "{error}");
    }

    #[test]
    fn what_is_no_surge_is_refused_with_what_would_be() {
        for (text, said) in [
            ("10s", "10s..20s*2"),
            ("10s..20s", "10s..20s*2"),
            ("20s..10s*2", "ends before it begins"),
            ("1s..2s*0", "above 0"),
            ("1s..2s*NaN", "above 0"),
            ("1s..2s*1.0005", "three decimals"),
            ("1s..2s*-1", "above 0"),
            ("1..2s*2", "no unit"),
        ] {
            let error = text.parse::<Surge>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            from in 0_u64..1_000_000,
            more in 1_u64..1_000_000,
            thousandths in 1_u32..1_000_000,
        ) {
            let ms = Duration::from_millis;
            let surge = Surge { from: ms(from), to: ms(from + more), thousandths };
            prop_assert_eq!(surge.to_string().parse::<Surge>().unwrap(), surge);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = text.parse::<Surge>();
        }
    }
}

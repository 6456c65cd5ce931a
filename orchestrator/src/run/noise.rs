//! Which attempt counts.

use model::manifest::{RepetitionRecord, Status};

/// Whether a repetition needs another attempt: the last one was complete but noisy, and there have
/// been at most `retries` before.
#[must_use]
pub fn wants_another(
    records: &[RepetitionRecord],
    experiment: &str,
    repetition: u32,
    retries: u32,
) -> bool {
    let mut attempts = records.iter().filter(|one| is_of(one, experiment, repetition));
    let count = attempts.clone().count();
    let last = attempts.next_back();
    count <= retries as usize && last.is_none_or(|one| one.status == Status::Done && one.noisy)
}

fn is_of(record: &RepetitionRecord, experiment: &str, repetition: u32) -> bool {
    record.experiment == experiment && record.repetition == repetition
}

/// Marks the quietest complete attempt at a repetition as the one that counts. An attempt whose
/// noise is unknown counts only where there is no other.
pub fn choose(records: &mut [RepetitionRecord], experiment: &str, repetition: u32) {
    let noise = |record: &RepetitionRecord| record.stalled_share.unwrap_or(f64::INFINITY);
    let quietest = records
        .iter()
        .enumerate()
        .filter(|(_, one)| is_of(one, experiment, repetition) && one.status == Status::Done)
        .min_by(|(_, a), (_, b)| noise(a).total_cmp(&noise(b)))
        .map(|(index, _)| index);
    for (index, record) in records.iter_mut().enumerate() {
        if is_of(record, experiment, repetition) {
            record.counts = Some(index) == quietest;
        }
    }
}

/// The number of the next attempt at an experiment.
#[must_use]
pub fn next_attempt(records: &[RepetitionRecord], experiment: &str) -> u32 {
    records
        .iter()
        .filter(|record| record.experiment == experiment)
        .map(|record| record.attempt + 1)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(
        attempt: u32,
        repetition: u32,
        status: Status,
        stalled: Option<f64>,
    ) -> RepetitionRecord {
        RepetitionRecord {
            experiment: "fig1".into(),
            attempt,
            repetition,
            status,
            error: None,
            started_utc: String::new(),
            elapsed_ns: 0,
            stalled_share: stalled,
            noisy: stalled.is_some_and(|share| share > 0.005),
            counts: false,
            facts: model::manifest::Facts::default(),
        }
    }

    #[test]
    fn a_noisy_repetition_is_tried_again_so_many_times_and_no_more() {
        let mut records = vec![];
        assert!(wants_another(&records, "fig1", 0, 1));
        records.push(record(0, 0, Status::Done, Some(0.01)));
        assert!(wants_another(&records, "fig1", 0, 1));
        assert!(!wants_another(&records, "fig1", 0, 0));
        records.push(record(1, 0, Status::Done, Some(0.02)));
        assert!(!wants_another(&records, "fig1", 0, 1));
    }

    #[test]
    fn a_quiet_and_a_failed_repetition_are_not_tried_again() {
        assert!(!wants_another(&[record(0, 0, Status::Done, Some(0.001))], "fig1", 0, 3));
        assert!(!wants_another(&[record(0, 0, Status::Failed, None)], "fig1", 0, 3));
    }

    #[test]
    fn the_quietest_complete_attempt_counts() {
        let mut records = vec![
            record(0, 0, Status::Done, Some(0.02)),
            record(1, 0, Status::Failed, Some(0.0)),
            record(2, 0, Status::Done, Some(0.01)),
            record(3, 0, Status::Done, None),
            record(4, 1, Status::Done, None),
        ];
        choose(&mut records, "fig1", 0);
        choose(&mut records, "fig1", 1);
        let counts: Vec<_> = records.iter().map(|record| record.counts).collect();
        assert_eq!(counts, [false, false, true, false, true]);
        assert_eq!(next_attempt(&records, "fig1"), 5);
        assert_eq!(next_attempt(&records, "fig2"), 0);
    }
}

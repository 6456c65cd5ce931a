//! What became of each job: from its own last word, and from what Slurm knows of it.

use model::fleet::{Job, State};

use super::{
    folder::Event,
    slurm::{Node, Task},
};

/// Slurm's words for a job that is not over.
const WAITING: [&str; 6] =
    ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"];
const RUNNING: [&str; 6] =
    ["RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"];

/// State and more about it. `task` is Slurm's word, from its queue or else its accounting; `node` the
/// job's host.
#[must_use]
pub fn state_of(
    job: &Job,
    event: Option<Event>,
    task: Option<&Task>,
    node: Option<&Node>,
) -> (State, Option<String>) {
    let host = || node.filter(|own| !own.is_usable()).map(Node::says);
    if let Some(task) = task.filter(|own| WAITING.contains(&own.state.as_str())) {
        return (State::Waiting, host().or_else(|| task.reason.clone()));
    }
    if task.is_some_and(|own| RUNNING.contains(&own.state.as_str())) {
        return (State::Running, host());
    }
    match (event, task) {
        (Some(Event::Ended(code)), _) => ended(code),
        (_, Some(task)) => {
            let reason = task.reason.as_ref().map_or_else(String::new, |own| format!(" ({own})"));
            (State::Killed, Some(format!("{}{reason}", task.state)))
        }
        _ if job.array.is_none() && event.is_none() => (State::Written, None),
        (Some(Event::Started), None) => {
            let text = "it began, and Slurm no longer knows it".to_owned();
            (State::Lost, Some(host().unwrap_or(text)))
        }
        (None, None) => (State::Lost, Some("Slurm does not know it".to_owned())),
    }
}

fn ended(code: i32) -> (State, Option<String>) {
    match code {
        0 => (State::Done, None),
        4 => (State::Done, Some("exit code 4".to_owned())),
        3 => (State::Lacking, Some("exit code 3: see its log".to_owned())),
        130 | 143 => (State::Killed, Some("interrupted".to_owned())),
        137 => (State::Killed, Some("its run was killed".to_owned())),
        code => (State::Failed, Some(format!("exit code {code}: see its log"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(array: Option<u64>) -> Job {
        Job {
            host: "n1".into(),
            suite: 0,
            name: "quick".into(),
            array,
            state: State::Written,
            detail: None,
            folder: None,
        }
    }

    fn task(state: &str, reason: Option<&str>) -> Task {
        Task { array: 7, index: 0, state: state.into(), reason: reason.map(str::to_owned) }
    }

    fn of(event: Option<Event>, slurm: Option<Task>, node: &str) -> (State, Option<String>) {
        let node = Node { name: "n1".into(), state: node.into(), reason: Some("dead".into()) };
        state_of(&job(Some(7)), event, slurm.as_ref(), Some(&node))
    }

    #[test]
    fn what_slurm_still_has_is_not_over_whatever_an_earlier_start_left() {
        let waits = of(Some(Event::Ended(0)), Some(task("PENDING", Some("Resources"))), "idle");
        assert_eq!(waits, (State::Waiting, Some("Resources".to_owned())), "requeued");
        assert_eq!(of(None, Some(task("RUNNING", None)), "allocated"), (State::Running, None));
    }

    #[test]
    fn a_host_that_died_is_told() {
        let said = Some("host is down*: dead".to_owned());
        assert_eq!(
            of(Some(Event::Started), Some(task("RUNNING", None)), "down*"),
            (State::Running, said.clone())
        );
        assert_eq!(
            of(None, Some(task("PENDING", Some("x"))), "down*"),
            (State::Waiting, said.clone())
        );
        assert_eq!(of(Some(Event::Started), None, "down*"), (State::Lost, said));
        let failed = of(Some(Event::Started), Some(task("NODE_FAIL", None)), "down*");
        assert_eq!(failed, (State::Killed, Some("NODE_FAIL".to_owned())));
    }

    #[test]
    fn a_jobs_own_word_says_how_it_ended() {
        let codes = [(0, State::Done), (4, State::Done), (3, State::Lacking), (2, State::Failed)];
        for (code, state) in codes.into_iter().chain([(137, State::Killed), (130, State::Killed)]) {
            let slurm = Some(task("FAILED", Some("NonZeroExitCode")));
            assert_eq!(of(Some(Event::Ended(code)), slurm, "idle").0, state, "{code}");
        }
    }

    #[test]
    fn without_a_word_slurms_counts_and_without_that_it_is_lost() {
        let killed = of(Some(Event::Started), Some(task("CANCELLED", Some("by 0"))), "idle");
        assert_eq!(killed, (State::Killed, Some("CANCELLED (by 0)".to_owned())));
        assert_eq!(of(None, None, "idle").0, State::Lost);
        assert_eq!(state_of(&job(None), None, None, None).0, State::Written);
        let by_hand = state_of(&job(None), Some(Event::Ended(0)), None, None);
        assert_eq!(by_hand.0, State::Done, "submitted by hand");
    }
}

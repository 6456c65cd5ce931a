//! QEMU's guest agent of a libvirt domain: libvirt holds its channel, and passes commands on.

use std::{io, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::channel::{ANSWER_LIMIT, Channel, NoAnswer, Refused};
use crate::{
    error::Refusal,
    host::{Stop, output, quoted},
};

/// How long a call may take beyond the agent's own limit.
const GRACE: Duration = Duration::from_secs(10);

/// The channel of a domain.
#[derive(Debug)]
pub(super) struct Virsh {
    domain: String,
}

impl Virsh {
    pub fn of(domain: &str) -> Self {
        Self { domain: domain.to_owned() }
    }

    /// All commands as one line for virsh, which goes on after one that fails.
    fn line(&self, commands: &[Value]) -> String {
        let one = |command: &Value| {
            // In JSON an apostrophe has a second form, in a word for virsh it would end the word.
            let command = command.to_string().replace('\'', "\\u0027");
            format!(
                "qemu-agent-command --timeout {} {} '{command}'",
                ANSWER_LIMIT.as_secs(),
                quoted(&self.domain)
            )
        };
        commands.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

impl Channel for Virsh {
    fn ask(&mut self, commands: &[Value], stop: &Stop) -> Result<Vec<Value>> {
        let mut virsh = Command::new("virsh");
        virsh.env("LC_ALL", "C").args(["-q", &self.line(commands)]);
        let limit = ANSWER_LIMIT * commands.len() as u32 + GRACE;
        let output = output(&mut virsh, limit, stop).map_err(|error| {
            match error.downcast_ref::<io::Error>().map(io::Error::kind) {
                Some(io::ErrorKind::NotFound) => Refusal::Lacking(
                    "virsh is not installed; install libvirt-clients, or use key `ssh`".to_owned(),
                )
                .into(),
                _ if stop.check().is_err() => error,
                _ => NoAnswer(format!("{error:#}")).into(),
            }
        })?;
        let text = String::from_utf8_lossy;
        answers(&text(&output.stdout), &text(&output.stderr), commands)
    }
}

/// What virsh printed for these commands.
fn answers(said: &str, complaint: &str, commands: &[Value]) -> Result<Vec<Value>> {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let answers = lines
        .map(|line| {
            let mut answer: Value = serde_json::from_str(line).context("virsh: no JSON")?;
            answer.get_mut("return").map(Value::take).context("virsh: no `return`")
        })
        .collect::<Result<Vec<_>>>()?;
    if answers.len() == commands.len() && complaint.trim().is_empty() {
        return Ok(answers);
    }
    let complaint = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("no answer");
    let why = complaint.strip_prefix("error: ").unwrap_or(complaint);
    let by_agent = why.split_once("unable to execute QEMU agent command '");
    if let Some((command, said)) = by_agent.and_then(|(_, rest)| rest.split_once("': ")) {
        return Err(Refused { command: command.to_owned(), said: said.to_owned() }.into());
    }
    // "Guest agent is not responding: Guest agent not available for now", for example.
    let lower = why.to_lowercase();
    if lower.contains("not responding") && !lower.contains("not connected") {
        return Err(NoAnswer(explained(why)).into());
    }
    bail!("{}", explained(why))
}

/// libvirt's words, with what to do.
fn explained(why: &str) -> String {
    let lower = why.to_lowercase();
    let remedy = if lower.contains("agent is not configured") {
        "the domain has no channel for it; add `<channel type='unix'><target type='virtio' \
         name='org.qemu.guest_agent.0'/></channel>`, or use key `ssh`"
    } else if lower.contains("not connected") || lower.contains("not responding") {
        "install qemu-guest-agent in the VM and start it, or use key `ssh`"
    } else if lower.contains("not running") {
        "start the domain"
    } else {
        return format!("virsh says: {why}");
    };
    format!("virsh says: {why}; {remedy}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn commands() -> [Value; 2] {
        [json!({ "execute": "guest-exec" }), json!({ "execute": "guest-ping" })]
    }

    #[test]
    fn several_commands_are_one_call() {
        let line = Virsh::of("it's").line(&[json!({ "execute": "a", "x": "don't" }), json!(1)]);
        assert_eq!(
            line,
            "qemu-agent-command --timeout 20 'it'\\''s' '{\"execute\":\"a\",\"x\":\"don\\u0027t\"}'; \
             qemu-agent-command --timeout 20 'it'\\''s' '1'"
        );
    }

    #[test]
    fn answers_are_taken_and_complaints_told() {
        let two = "{\"return\":{\"pid\":7}}\n\n{\"return\":{}}\n";
        assert_eq!(answers(two, "", &commands()).unwrap(), [json!({ "pid": 7 }), json!({})]);
        let said = |said: &str, complaint: &str| {
            answers(said, complaint, &commands()).unwrap_err().to_string()
        };
        let blocked = "error: internal error: unable to execute QEMU agent command 'guest-exec': \
                       Command guest-exec has been disabled\n\n";
        assert_eq!(
            said("", blocked),
            "the guest agent refused `guest-exec`: Command guest-exec has been disabled"
        );
        for (complaint, remedy) in [
            ("error: argument unsupported: QEMU guest agent is not configured", "<channel"),
            ("error: Guest agent is not responding: QEMU guest agent is not connected", "install"),
            ("error: Requested operation is not valid: domain is not running", "start the domain"),
            ("error: failed to get domain 'x'", "virsh says: failed to get domain 'x'"),
            ("", "no answer"),
        ] {
            let text = said("{\"return\":{}}\n", complaint);
            assert!(text.contains(remedy), "{complaint}: {text}");
        }
        assert!(said("nonsense", "").contains("no JSON"));
        let busy = "error: Guest agent is not responding: Guest agent not available for now";
        assert!(answers("", busy, &commands()).unwrap_err().is::<NoAnswer>());
    }
}

//! Trace events in JSON (*Trace Event Format*, Google), which Perfetto and Chrome show.
//!
//! Three "processes": the measured CPU with who ran on it, the virtual machine with its threads on
//! any CPU, and the guest with its tasks' jobs. Times are microseconds with three decimals, so that
//! no nanosecond is lost, counted from the first event: Perfetto drops what lies before zero.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::schedule::Schedule;
use crate::supply::is_vcpu;

const CPU: u32 = 1;
const VM: u32 = 2;
const GUEST: u32 = 3;

/// One trace event.
#[derive(Debug, Serialize)]
struct Event<'a> {
    name: &'a str,
    cat: &'a str,
    /// X: a slice; i: an instant; M: a name.
    ph: &'a str,
    /// µs.
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    /// An instant's scope: its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'a str>,
    args: Value,
}

/// Writes the events, one a line, inside one JSON object.
///
/// # Errors
/// Those of `out`.
pub fn write(schedule: &Schedule, out: &mut dyn Write) -> io::Result<()> {
    let first_ns = schedule.first_ns();
    let mut writer = Writer { schedule, first_ns, out, first: true };
    writeln!(writer.out, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    writer.cpu()?;
    writer.vm()?;
    writer.guest()?;
    let about = json!({
        "experiment": schedule.experiment,
        "attempt": schedule.attempt,
        "clock": "CLOCK_MONOTONIC of the host",
        "zero_ns": first_ns,
        "workload_us": (schedule.zero_ns - first_ns) as f64 / 1000.0,
    });
    writeln!(writer.out, "\n],\"otherData\":{about}}}")
}

struct Writer<'a> {
    schedule: &'a Schedule,
    /// Host's instant of the trace's zero.
    first_ns: u64,
    out: &'a mut dyn Write,
    first: bool,
}

impl Writer<'_> {
    fn put(&mut self, event: &Event) -> io::Result<()> {
        if !std::mem::take(&mut self.first) {
            writeln!(self.out, ",")?;
        }
        serde_json::to_writer(&mut *self.out, event)?;
        Ok(())
    }

    fn us(&self, at_ns: u64) -> f64 {
        at_ns.saturating_sub(self.first_ns) as f64 / 1000.0
    }

    fn name(&mut self, kind: &str, (pid, tid): (u32, u32), name: &str) -> io::Result<()> {
        let args = json!({ "name": name });
        self.put(&Event {
            name: kind,
            cat: "",
            ph: "M",
            ts: 0.0,
            dur: None,
            pid,
            tid,
            s: None,
            args,
        })
    }

    fn slice(
        &mut self,
        (name, cat): (&str, &str),
        (start_ns, end_ns): (u64, u64),
        (pid, tid): (u32, u32),
        args: Value,
    ) -> io::Result<()> {
        let dur = Some((end_ns - start_ns) as f64 / 1000.0);
        let ts = self.us(start_ns);
        self.put(&Event { name, cat, ph: "X", ts, dur, pid, tid, s: None, args })
    }

    fn cpu(&mut self) -> io::Result<()> {
        let (schedule, cpu) = (self.schedule, self.schedule.measured_cpu);
        self.name("process_name", (CPU, 0), &format!("CPU {cpu} of the host (measured)"))?;
        self.name("thread_name", (CPU, 1), "who runs")?;
        for row in schedule.vm.iter().filter(|row| row.cpu == Some(cpu)) {
            let span = (row.start_ns, row.end_ns);
            self.slice((&row.thread, "vm-on-cpu"), span, (CPU, 1), json!({}))?;
        }
        for row in &schedule.host {
            let args = json!({ "tid": row.tid });
            self.slice((&row.thread, "host"), (row.start_ns, row.end_ns), (CPU, 1), args)?;
        }
        self.name("thread_name", (CPU, 2), "stalls of the machine")?;
        for stall in &schedule.stalls {
            let span = (stall.start_ns, stall.start_ns.saturating_add(stall.length_ns));
            self.slice(("stall", "stall"), span, (CPU, 2), json!({}))?;
        }
        Ok(())
    }

    fn vm(&mut self) -> io::Result<()> {
        let schedule = self.schedule;
        self.name("process_name", (VM, 0), "virtual machine (QEMU)")?;
        for (tid, thread) in numbered(schedule.vm.iter().map(|row| row.thread.as_str())) {
            self.name("thread_name", (VM, tid), thread)?;
            for row in schedule.vm.iter().filter(|row| row.thread == thread) {
                let args = json!({ "cpu": row.cpu, "ended": row.ended });
                self.slice((thread, "supply"), (row.start_ns, row.end_ns), (VM, tid), args)?;
            }
        }
        Ok(())
    }

    fn guest(&mut self) -> io::Result<()> {
        let schedule = self.schedule;
        self.name("process_name", (GUEST, 0), "guest")?;
        for (tid, task) in numbered(schedule.jobs.iter().map(|job| job.task.as_str())) {
            self.name("thread_name", (GUEST, tid), task)?;
            for job in schedule.jobs.iter().filter(|job| job.task == task) {
                let response = (job.finish_ns - job.release_ns) as f64 / 1e6;
                let args = json!({ "job": job.job, "response_ms": response, "missed": job.missed });
                let place = (GUEST, tid);
                self.slice((task, "job"), (job.start_ns, job.finish_ns), place, args)?;
                let (name, ts) = ("release", self.us(job.release_ns));
                self.put(&Event {
                    name,
                    cat: "release",
                    ph: "i",
                    ts,
                    dur: None,
                    pid: GUEST,
                    tid,
                    s: Some("t"),
                    args: json!({ "job": job.job }),
                })?;
            }
        }
        Ok(())
    }
}

/// Names without repetition, numbered from 1: vCPUs first.
fn numbered<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(u32, &'a str)> {
    let ordered: BTreeMap<(bool, &str), ()> =
        names.map(|name| ((!is_vcpu(name), name), ())).collect();
    (1..).zip(ordered.into_keys().map(|(_, name)| name)).collect()
}

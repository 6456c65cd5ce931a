//! A vector of costs, printed.

use std::fmt::Write;

use model::costs::{Component, CostVector};
use serde::Serialize;

use super::{answer, print_json, print_warnings};
use crate::{Error, options::Format, warning::Warning};

/// A vector with what speaks against it.
#[derive(Debug, Serialize)]
struct CostsSummary<'a> {
    #[serde(flatten)]
    vector: &'a CostVector,
    warnings: Vec<String>,
}

/// Prints a vector on standard output.
///
/// # Errors
/// [`Error::System`] where it cannot be printed though somebody reads.
pub fn print_costs(vector: &CostVector, warnings: &[Warning], format: Format) -> Result<(), Error> {
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    print_warnings(&warnings);
    match format {
        Format::Text => answer(&table(vector)),
        Format::Json => print_json(&CostsSummary { vector, warnings }),
    }
}

fn table(vector: &CostVector) -> String {
    let host = &vector.host;
    let unknown = "unknown".to_owned();
    let mut text = format!(
        "CPU {} of {} ({}, Linux {}, {}), policy {}\n\n{:<19}{:>12}{:>12}{:>12}  operation\n",
        vector.cpu,
        host.name.as_ref().unwrap_or(&unknown),
        host.cpu_model.as_ref().unwrap_or(&unknown),
        host.kernel.as_ref().unwrap_or(&unknown),
        host.hypervisor.as_deref().unwrap_or("no hypervisor named"),
        vector.policy,
        "",
        "ns",
        "p10",
        "p90",
    );
    for component in Component::ALL {
        let figures = vector.cost(component).map_or(["–"; 3].map(str::to_owned), |cost| {
            [cost.per_operation_ns, cost.low_ns, cost.high_ns].map(|ns| format!("{ns:.3}"))
        });
        let [cost, low, high] = figures;
        let (name, what) = (component.name(), component.operation());
        writeln!(text, "{name:<19}{cost:>12}{low:>12}{high:>12}  {what}")
            .expect("a string takes it");
    }
    let ms = vector.batch_ns as f64 / 1e6;
    let known = |ns: Option<f64>| ns.map_or_else(|| "–".to_owned(), |ns| format!("{ns:.3}"));
    write!(
        text,
        "\nmedian, 10th and 90th percentile of batches of {ms} ms; the loop around an operation takes \
         {} ns, the clock around a batch {} ns\n",
        known(vector.loop_ns),
        known(vector.clock_read_ns)
    )
    .expect("a string takes it");
    text
}

#[cfg(test)]
mod tests {
    use model::costs::{Cost, MeasuredHost, SCHEMA_VERSION};

    use super::*;

    fn vector() -> CostVector {
        let cost = |(at, component): (usize, Component)| {
            let ns = 1.5 * (at as f64 + 1.0);
            let cost = Cost {
                per_operation_ns: ns,
                low_ns: ns - 0.25,
                high_ns: ns + 0.5,
                batches: 38,
                batch_operations: 1000,
                size_bytes: component.size_bytes(),
            };
            (component, (component != Component::MemoryDram).then_some(cost))
        };
        CostVector {
            schema_version: SCHEMA_VERSION,
            measured_utc: "2026-11-26T15:00:00Z".to_owned(),
            host: MeasuredHost {
                name: Some("lab".to_owned()),
                cpu_model: Some("An Example".to_owned()),
                kernel: Some("6.1".to_owned()),
                hypervisor: Some("KVMKVMKVM".to_owned()),
                platform: Some(model::host::Platform::VirtualMachine),
                cache_bytes: [(1, 32 << 10)].into(),
            },
            cpu: 1,
            policy: "fifo".to_owned(),
            loop_ns: Some(0.31),
            clock_read_ns: None,
            batch_ns: 10_000_000,
            costs: Component::ALL.into_iter().enumerate().map(cost).collect(),
        }
    }

    #[test]
    fn a_table_for_people() {
        insta::assert_snapshot!(table(&vector()), @r#"
CPU 1 of lab (An Example, Linux 6.1, KVMKVMKVM), policy fifo

                             ns         p10         p90  operation
integer_latency           1.500       1.250       2.000  an iteration of rtload's loop: six dependent steps
integer_throughput        3.000       2.750       3.500  the same six steps, four chains at a time
floating_point            4.500       4.250       5.000  a multiplication and an addition of doubles, dependent
vector                    6.000       5.750       6.500  a 128-bit vector operation (SSE2), loads and stores around it
branches                  7.500       7.250       8.000  a branch on a random bit: half are mispredicted
branch_throughput         9.000       8.750       9.500  a comparison and a branch that is always predicted
load_throughput          10.500      10.250      11.000  a load in 16 KiB that waits for none before it
store_throughput         12.000      11.750      12.500  a store in 16 KiB
memory_l1                13.500      13.250      14.000  a dependent load in 16 KiB
memory_l2                15.000      14.750      15.500  a dependent load in 256 KiB
memory_l3                16.500      16.250      17.000  a dependent load in 4 MiB
memory_dram                   –           –           –  a dependent load in 64 MiB
system_call              19.500      19.250      20.000  a system call that does nothing (getppid)
page_fault               21.000      20.750      21.500  the first touch of a fresh page of 4 KiB, and giving it back
process_start            22.500      22.250      23.000  a static program that ends at once: fork, exec, exit, wait
context_switch           24.000      23.750      24.500  a switch between two threads, without the pipe's own cost
timer                    25.500      25.250      26.000  a sleep until an instant: the timer, the switch away and back

median, 10th and 90th percentile of batches of 10 ms; the loop around an operation takes 0.310 ns, the clock around a batch – ns
"#);
    }

    #[test]
    fn an_object_for_scripts() {
        let warnings = vec![Warning::NoRoomFor { component: Component::MemoryDram }.to_string()];
        let mut vector = vector();
        let few = [Component::IntegerLatency, Component::MemoryL1, Component::MemoryDram];
        vector.costs.retain(|component, _| few.contains(component));
        let summary = CostsSummary { vector: &vector, warnings };
        insta::assert_snapshot!(serde_json::to_string_pretty(&summary).unwrap(), @r#"
{
  "schema_version": 2,
  "measured_utc": "2026-11-26T15:00:00Z",
  "host": {
    "name": "lab",
    "cpu_model": "An Example",
    "kernel": "6.1",
    "hypervisor": "KVMKVMKVM",
    "platform": "virtual-machine",
    "cache_bytes": {
      "1": 32768
    }
  },
  "cpu": 1,
  "policy": "fifo",
  "loop_ns": 0.31,
  "clock_read_ns": null,
  "batch_ns": 10000000,
  "costs": {
    "integer_latency": {
      "per_operation_ns": 1.5,
      "low_ns": 1.25,
      "high_ns": 2.0,
      "batches": 38,
      "batch_operations": 1000
    },
    "memory_l1": {
      "per_operation_ns": 13.5,
      "low_ns": 13.25,
      "high_ns": 14.0,
      "batches": 38,
      "batch_operations": 1000,
      "size_bytes": 16384
    },
    "memory_dram": null
  },
  "warnings": [
    "memory_dram was not measured: 64 MiB are more than half of the memory that is available; free some and measure again"
  ]
}
"#);
    }
}

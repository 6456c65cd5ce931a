//! The only door to Linux: scheduling policies, affinity, clocks, memory locking, processes, cgroups,
//! cpusets, tracefs and `/proc`.
//!
//! This is the one crate with `unsafe` code, each block with the invariant that makes it sound.
//! Roots such as `/proc` and `/sys/fs/cgroup` are arguments, so that tests run on made-up trees.

pub mod affinity;
pub mod cgroup;
pub mod clock;
pub mod cpu_group;
pub mod cpuid;
pub mod cpuset;
pub mod deadline_state;
pub mod dma_latency;
pub mod memory;
pub mod process;
pub mod procfs;
pub mod sched;
pub mod tracefs;

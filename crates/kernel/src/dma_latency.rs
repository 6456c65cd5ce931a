//! `/dev/cpu_dma_latency`: a promise that keeps processors out of slow sleep states while it is held.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// Holds the wake-up latency of all CPUs at 0 µs until it is dropped (or the process ends).
#[derive(Debug)]
pub struct DmaLatency {
    _held: File,
}

impl DmaLatency {
    /// Asks for 0 µs.
    ///
    /// # Errors
    /// What opening or writing the device says: ENOENT where the kernel has none, EACCES without
    /// privilege.
    pub fn hold(device: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(device)?;
        file.write_all(&0_i32.to_ne_bytes())?;
        Ok(Self { _held: file })
    }
}

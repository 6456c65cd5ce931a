//! QEMU's guest agent as a way in: `guest-exec` runs scripts, `guest-file-write` brings files, and a
//! [`Tunnel`] of two files carries the protocol of the bench's agent, since QEMU's has no streams.

use std::{io::Write, os::unix::net::UnixStream, path::Path};

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};

use super::{
    Way,
    channel::Socket,
    client::{CHUNK, Client},
    tunnel::Tunnel,
    virsh::Virsh,
};
use crate::{
    guest::{Explain, Output, Programs, Status},
    host::Stop,
};

/// The agent in one VM.
#[derive(Debug)]
pub(super) struct GuestAgent(Client);

impl GuestAgent {
    /// Behind a socket of QEMU's.
    ///
    /// # Errors
    /// It does not answer, or refuses what is needed.
    pub fn at(socket: &Path, stop: &Stop) -> Result<Self> {
        Client::on(Box::new(Socket::connect(socket)?), stop).map(Self)
    }

    /// Of a libvirt domain.
    ///
    /// # Errors
    /// Those of [`GuestAgent::at`]; libvirt's.
    pub fn of_domain(domain: &str, stop: &Stop) -> Result<Self> {
        Client::on(Box::new(Virsh::of(domain)), stop).map(Self)
    }
}

impl Explain for GuestAgent {
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        self.0.explain(error)
    }
}

impl Way for GuestAgent {
    fn run(&self, script: &str, stop: &Stop) -> Result<Output> {
        self.0.run(script, stop)
    }

    fn write(&self, path: &str, content: &[u8], stop: &Stop) -> Result<()> {
        if content.len() > CHUNK {
            // Each part is a call of virsh: a program is less than half as many when it is packed.
            self.0.write(&format!("{path}.gz"), &packed(content)?, stop)?;
            let unpacked = self.run(&format!("gzip -df {path}.gz || rm {path}.gz {path}"), stop)?;
            let size = self.run(&format!("wc -c <{path}"), stop)?.stdout;
            let whole = String::from_utf8_lossy(&size).trim() == content.len().to_string();
            if whole && unpacked.status == Status::Code(0) {
                return Ok(());
            }
        }
        self.0.write(path, content, stop)
    }

    fn connect(&self, folder: &str, _logs: &Path, stop: &Stop) -> Result<UnixStream> {
        let program = Programs::below(folder).agent;
        let process = self.0.start(&program, &["--entered", folder, "--files"], stop)?;
        Tunnel::open(&self.0, process, folder, stop)?.carry()
    }
}

fn packed(content: &[u8]) -> Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(content)?;
    Ok(packer.finish()?)
}

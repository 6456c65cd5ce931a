//! Switches between two threads of one CPU that hand a word to each other through pipes.
//!
//! As lat_ctx of lmbench (McVoy and Staelin 1996): what a pipe costs without a switch, measured on
//! one that a thread writes to and reads from itself, is taken off.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write, pipe},
    thread::Scope,
};

use kernel::clock::thread_cpu_ns;

/// Asks the partner for its CPU clock.
const HOW_MUCH: u64 = u64::MAX;

/// This thread's ends of the pipes.
pub struct Partner {
    to: PipeWriter,
    from: PipeReader,
    own: (PipeReader, PipeWriter),
}

impl Partner {
    /// Starts the other thread, which inherits CPU and policy and ends when this is dropped.
    pub fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> io::Result<Self> {
        let ((reader, to), (from, writer)) = (pipe()?, pipe()?);
        std::thread::Builder::new().spawn_scoped(scope, move || answer(reader, writer))?;
        Ok(Self { to, from, own: pipe()? })
    }

    /// The CPU time of so many times there and back, of both threads, less the pipe's own.
    pub fn switch(&mut self, rounds: u64) -> io::Result<u64> {
        let (other, begin) = (self.ask(HOW_MUCH)?, thread_cpu_ns());
        for round in 0..rounds {
            self.ask(round)?;
        }
        let own = thread_cpu_ns() - begin;
        let both = own + (self.ask(HOW_MUCH)? - other);
        let begin = thread_cpu_ns();
        for round in 0..2 * rounds {
            self.own.1.write_all(&round.to_ne_bytes())?;
            word(&mut self.own.0)?;
        }
        Ok(both.saturating_sub(thread_cpu_ns() - begin))
    }

    fn ask(&mut self, value: u64) -> io::Result<u64> {
        self.to.write_all(&value.to_ne_bytes())?;
        word(&mut self.from)
    }
}

fn word(from: &mut PipeReader) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Gives every word back until nobody writes any more.
fn answer(mut reader: PipeReader, mut writer: PipeWriter) {
    while let Ok(value) = word(&mut reader) {
        let answer = if value == HOW_MUCH { thread_cpu_ns() } else { value };
        if writer.write_all(&answer.to_ne_bytes()).is_err() {
            return;
        }
    }
}

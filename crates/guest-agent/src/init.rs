//! The life of the guest: prepare, say hello, serve, power off.

use nix::sys::reboot::{RebootMode, reboot};

use crate::{
    boot, facts,
    message::{Hello, VERSION},
    net, port, serve,
};

/// Runs the guest until the host asks for its end or closes the control port, then powers off.
/// Returns only where even that fails.
pub fn run() {
    let init_ns = facts::monotonic_ns();
    let mut warnings = Vec::new();
    boot::mount_all(&mut warnings);
    boot::load_modules(&mut warnings);
    boot::apply_settings(&mut warnings);
    let network = net::bring_up(&mut warnings);
    for warning in &warnings {
        eprintln!("guest-agent: {warning}");
    }
    match port::open() {
        Ok(port) => {
            let hello = Hello {
                version: VERSION,
                kernel: facts::kernel_release(),
                cpus: facts::cpus(),
                clock_source: facts::clock_source(),
                init_ns,
                hello_ns: facts::monotonic_ns(),
                network,
                warnings,
            };
            if let Err(error) = serve::serve(&port, hello) {
                eprintln!("guest-agent: {error}");
            }
        }
        Err(error) => eprintln!("guest-agent: no control port: {error}"),
    }
    power_off();
}

/// The console is drained first: its last lines may say why.
fn power_off() {
    let _ = nix::sys::termios::tcdrain(std::io::stderr());
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("guest-agent: powering off: {error}");
}

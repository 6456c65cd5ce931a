//! The life of the guest: prepare, say hello, serve, power off.

use nix::sys::reboot::{RebootMode, reboot};

use crate::{
    boot, facts,
    message::{Hello, VERSION},
    net, port, serve, switch,
};

/// Runs the guest as its first process until the host asks for its end or closes the control port,
/// then powers off. Where another root is asked for ([`switch::ROOT`]), hands over to its own first
/// process instead. Returns only where that, or even powering off, fails.
pub fn run() {
    let init_ns = facts::monotonic_ns();
    let mut warnings = Vec::new();
    boot::mount_all(&mut warnings);
    boot::load_modules(&mut warnings);
    boot::apply_settings(&mut warnings);
    if let Err(error) = switch::to_other_root() {
        eprintln!("guest-agent: {error}");
        return power_off();
    }
    switch::mount_extra_disk(&mut warnings);
    let network = net::bring_up(&mut warnings);
    serve_and_power_off(init_ns, network, warnings);
}

/// Serves as a service of a system that was booted by its own first process.
pub fn run_as_service() {
    serve_and_power_off(facts::monotonic_ns(), None, Vec::new());
}

fn serve_and_power_off(init_ns: u64, network: Option<String>, warnings: Vec<String>) {
    for warning in &warnings {
        eprintln!("guest-agent: {warning}");
    }
    match port::open() {
        Ok(port) => {
            if let Err(error) = serve::serve(&port, hello(init_ns, network, warnings)) {
                eprintln!("guest-agent: {error}");
            }
        }
        Err(error) => eprintln!("guest-agent: no control port: {error}"),
    }
    power_off();
}

/// What the agent says as it begins to serve.
pub(crate) fn hello(init_ns: u64, network: Option<String>, warnings: Vec<String>) -> Hello {
    Hello {
        version: VERSION,
        kernel: facts::kernel_release(),
        cpus: facts::cpus(),
        clock_source: facts::clock_source(),
        init_ns,
        hello_ns: facts::monotonic_ns(),
        network,
        warnings,
    }
}

/// The console is drained first: its last lines may say why.
fn power_off() {
    nix::unistd::sync();
    let _ = nix::sys::termios::tcdrain(std::io::stderr());
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("guest-agent: powering off: {error}");
}

use orchestrator::guest::*;
use std::{
    path::PathBuf,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};
fn main() -> anyhow::Result<()> {
    let stop = AtomicBool::new(false);
    let cache = default_cache()?;
    let kernel = ensure_kernel(&cache)?;
    let qemu = find_qemu()?;
    let mut contents = Contents::default();
    for p in ["/bin/uname", "/bin/sh", "/bin/cat", "/bin/sleep", "/bin/dd", "/bin/ls"] {
        contents = contents.with_program(p.as_ref());
    }
    if let Ok(p) = std::env::var("EXTRA") {
        contents = contents.with_program(p.as_ref());
    }
    let spec = GuestSpec {
        name: "try".into(),
        contents,
        logs: PathBuf::from("/tmp/guest-work/logs"),
        kernel,
        cache,
        network: Network::User { forwards: vec![] },
        ..GuestSpec::default()
    };
    let n: u32 = std::env::args().nth(1).map_or(1, |t| t.parse().unwrap());
    let t = Instant::now();
    let c = choose(model::suite::AcceleratorChoice::Auto, &Plain, &qemu, &spec, &stop)?;
    println!("{c:?} {:?}", t.elapsed());
    for i in 0..n {
        let t = Instant::now();
        let g =
            Guest::launch(&Plain, &qemu, &spec, c.accelerator, c.accelerator.boot_limit(), &stop)?;
        println!("launch {:?} boot {:?} {:?}", t.elapsed(), g.boot, g.hello);
        if i == 0 {
            println!(
                "pid {} vcpus {:?} others {:?}",
                g.pid(),
                g.vcpu_threads(),
                g.other_threads()?
            );
            let o = g.run(&["uname", "-a"], Duration::from_secs(5), &stop)?;
            println!("{:?} {}", o.status, String::from_utf8_lossy(&o.stdout));
            if let Ok(s) = std::env::var("SH") {
                let o = g.run(&["sh", "-c", &s], Duration::from_secs(60), &stop)?;
                println!(
                    "{:?}\n{}{}",
                    o.status,
                    String::from_utf8_lossy(&o.stdout),
                    String::from_utf8_lossy(&o.stderr)
                );
            }
            let mut first = None;
            for _ in 0..std::env::var("CLOCKS").map_or(2, |t| t.parse().unwrap()) {
                let o = g.clock_offset(&stop)?;
                let f = *first.get_or_insert(o);
                let src = g.run(
                    &["cat", "/sys/devices/system/clocksource/clocksource0/current_clocksource"],
                    Duration::from_secs(5),
                    &stop,
                )?;
                println!(
                    "{o:?} drift {:?} {}",
                    o.drift_since(f),
                    String::from_utf8_lossy(&src.stdout).trim()
                );
                std::thread::sleep(Duration::from_millis(500));
            }
        }
        let t = Instant::now();
        g.shutdown()?;
        println!("shutdown {:?}", t.elapsed());
    }
    Ok(())
}

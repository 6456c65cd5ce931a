//! The service of Table 1 under shares of the CPU: every response takes as much longer as the share
//! is smaller.

use crate::made_up::MadeUp;

/// What each case has of the CPU, as a factor of the host's speed.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// What the guest gets done, having the CPU to itself.
    pub guest: f64,
    /// Beside the load, of that.
    pub loaded: f64,
    /// In the reservation, of that.
    pub reserved: f64,
}

/// 7 % for virtualisation, a load of 0.88, and 3 of every 5 ms.
pub const SOUND: Shares = Shares { guest: 1.0 / 1.07, loaded: 0.12, reserved: 0.6 };

/// Response times on the host, in milliseconds.
const HOST: (f64, f64) = (1000.0, 1400.0);

/// A folder with the four cases.
pub fn folder(shares: &Shares) -> MadeUp {
    let at = |share: f64| (HOST.0 / share, HOST.1 / share);
    let (_, late) = at(shares.guest * shares.loaded);
    // Beside a load that leaves little, some requests get their turn at once and others last.
    let loaded = (late * (0.2 + 0.8 * shares.loaded) * HOST.0 / HOST.1, late);
    let reserved =
        if shares.reserved != shares.loaded { at(shares.guest * shares.reserved) } else { loaded };
    let mut folder = MadeUp::service([HOST, at(shares.guest), loaded, reserved]);
    folder.manifest.accelerator.as_mut().unwrap().name = "kvm".to_owned();
    folder.save();
    folder
}

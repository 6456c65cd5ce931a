//! Guests: real Linux machines under QEMU, made from the distribution's kernel, an initramfs built
//! here, and the guest-agent as /init.

mod accelerator;
mod agent;
mod boot_sector;
mod clock;
mod disk_image;
mod identity;
mod initramfs;
mod inside;
mod kernel_image;
mod kvm_probe;
mod launch;
mod libraries;
mod machine;
mod medium;
mod modules;
mod no_way_in;
mod own_disk;
mod packages;
mod process;
mod qcow2;
mod qemu;
mod qmp;
mod running;
mod seed;
mod strip;
mod vmlinux;

pub use accelerator::{Accelerator, Chosen, choose};
pub use agent::{Agent, Closed};
pub use boot_sector::{SpinningGuest, spin};
pub use clock::ClockOffset;
pub use disk_image::DiskImage;
pub use guest_agent::message::{Hello, Status, Stream};
pub use identity::unconfined;
pub use initramfs::{Contents, build};
pub use inside::{Explain, Inside, Programs};
pub use kernel_image::{
    KernelImage, check_file as check_kernel_file, default_cache, ensure as ensure_kernel,
    ensure_kind, files as kernel_files,
};
pub use launch::{Disk, GuestSpec, Network};
pub(crate) use libraries::closure as libraries_of;
pub use machine::Guest;
pub use model::suite::KernelChoice;
pub use no_way_in::NoWayIn;
pub use own_disk::{OwnDisk, static_programs};
pub(crate) use packages::{Mirror, fetch_root, run as run_quietly};
pub use process::{Launch, Plain};
pub use qemu::{Qemu, find as find_qemu};
pub use qmp::{Qmp, vcpu_threads};
pub use running::{Output, Running};
pub use seed::make as make_seed;
pub(crate) use strip::strip as stripped;

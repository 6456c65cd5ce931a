//! What kind of machine this host is: bare metal, a virtual machine, or an emulated one.

use model::manifest::Platform;

use super::{Roots, line_of};

/// The kind of the host below `roots`, whose processor names the hypervisor `signature` (CPUID leaf
/// 0x4000_0000, [`kernel::cpuid::hypervisor`]). Where the processor names none, the names of
/// processor and machine tell, as QEMU can hide the signature (`-cpu …,tcg-cpuid=off`); none where
/// `/proc` says nothing of the processor.
#[must_use]
pub fn platform(roots: &Roots, signature: Option<&str>) -> Option<Platform> {
    let model = roots.cpuinfo("model name");
    if let Some(signature) = signature {
        return Some(Platform::under(signature, model.as_deref()));
    }
    if model.as_deref().is_some_and(Platform::is_emulated_processor) {
        return Some(Platform::Emulated);
    }
    let flags = roots.cpuinfo("flags")?;
    let flagged = flags.split_whitespace().any(|flag| flag == "hypervisor");
    let named = roots.is_named_as_virtual_machine();
    Some(if flagged || named { Platform::VirtualMachine } else { Platform::BareMetal })
}

impl Roots {
    /// Whether the firmware names a machine that only hypervisors have.
    fn is_named_as_virtual_machine(&self) -> bool {
        const MACHINES: [&str; 7] =
            ["QEMU", "KVM", "VMware", "VirtualBox", "Virtual Machine", "Bochs", "HVM domU"];
        let names = ["sys_vendor", "product_name"]
            .map(|name| line_of(&self.sys.join("class/dmi/id").join(name)).unwrap_or_default());
        MACHINES.iter().any(|machine| names.iter().any(|name| name.contains(machine)))
    }
}

#[cfg(test)]
mod tests {
    use kernel::procfs::Proc;

    use super::*;
    use crate::host::topology::tests::tree;

    const TCG: &str = "TCGTCGTCGTCG";

    /// The kind of a made-up host.
    fn kind(signature: Option<&str>, model: &str, flags: &str, vendor: &str) -> Option<Platform> {
        let cpuinfo = format!("processor\t: 0\nmodel name\t: {model}\nflags\t\t: {flags}\n");
        let root = tree(&[("proc/cpuinfo", &cpuinfo), ("sys/class/dmi/id/sys_vendor", vendor)]);
        let proc = Proc::at(&root.path().join("proc"));
        let roots = Roots { proc, sys: root.path().join("sys"), root: root.path().to_owned() };
        platform(&roots, signature)
    }

    #[test]
    fn bare_metal_virtual_machines_and_emulation_are_told_apart() {
        const EPYC: &str = "AMD EPYC 7763";
        let (bare, virt, emulated) =
            (Some(Platform::BareMetal), Some(Platform::VirtualMachine), Some(Platform::Emulated));
        assert_eq!(kind(None, EPYC, "fpu svm", "Dell Inc."), bare);
        assert_eq!(kind(Some("KVMKVMKVM"), EPYC, "fpu hypervisor", "QEMU"), virt);
        assert_eq!(kind(Some("Microsoft Hv"), EPYC, "fpu hypervisor", "Microsoft"), virt);
        assert_eq!(kind(Some(TCG), EPYC, "fpu svm hypervisor", "QEMU"), emulated);
        // A processor that names no hypervisor.
        assert_eq!(kind(None, "QEMU TCG CPU version 2.5+", "fpu", "QEMU"), emulated);
        assert_eq!(kind(Some(""), "QEMU TCG CPU version 2.5+", "hypervisor", "QEMU"), emulated);
        assert_eq!(kind(None, EPYC, "fpu hypervisor", "Dell Inc."), virt);
        assert_eq!(kind(None, EPYC, "fpu", "QEMU"), virt);
    }

    #[test]
    fn a_host_that_says_nothing_is_unknown() {
        let root = tree(&[]);
        let roots = Roots {
            proc: Proc::at(root.path()),
            sys: root.path().to_owned(),
            root: root.path().to_owned(),
        };
        assert_eq!(platform(&roots, None), None);
    }
}

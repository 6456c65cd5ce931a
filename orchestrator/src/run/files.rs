//! The files of the user's that VMs boot from, looked at before the host is touched.

use model::suite::{Experiment, System, Vm};

use crate::guest::{DiskImage, check_kernel_file};

/// Refuses a disk that cannot be booted, and a kernel that is none; nothing is changed or started.
///
/// # Errors
/// One sentence that names experiment, VM, key and file.
pub(super) fn check(experiment: &Experiment) -> Result<(), String> {
    for vm in experiment.vms.iter().filter(|vm| vm.found.is_none()) {
        let looked = match &vm.system {
            System::Disk(disk) => DiskImage::look(&disk.image).map(drop),
            System::BuiltIn(kernel) => check_kernel_file(kernel).map_err(|error| error.to_string()),
        };
        looked.map_err(|why| {
            let key = vm.system.file().map_or("kernel", |(key, _)| key);
            let whose = match vm.name == Vm::NAME && experiment.vms.len() == 1 {
                true => String::new(),
                false => format!("vm `{}`: ", vm.name),
            };
            format!("experiment `{}`: {whose}key `{key}`: {why}", experiment.name)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::suite;

    use super::*;

    fn refused(keys: &str) -> String {
        let text = format!(
            "name = \"s\"\n[[experiment]]\nname = \"own\"\nwhere = \"guest\"\n\
             tasks = [\"1ms/9ms\"]\n{keys}\n"
        );
        check(&suite::parse(&text, "s.toml").unwrap().experiments[0]).unwrap_err()
    }

    #[test]
    fn what_cannot_be_booted_is_named_with_its_key() {
        let none = refused("disk = \"/no/such/disk.qcow2\"");
        assert!(
            none.starts_with("experiment `own`: key `disk`: /no/such/disk.qcow2: there is no"),
            "{none}"
        );
        let kernel = refused("kernel = \"/no/such/vmlinuz-1\"");
        assert!(kernel.starts_with("experiment `own`: key `kernel`: kernel /no/such"), "{kernel}");
        let typo = refused("kernel = \"rtt\"");
        assert!(typo.contains("give `cloud`, `rt`, `backports` or a file named"), "{typo}");
    }
}

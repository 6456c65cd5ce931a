//! What the processor says of a hypervisor.

/// The signature of the hypervisor that runs this machine, for example `KVMKVMKVM` or `TCGTCGTCGTCG`
/// (12 bytes of CPUID leaf 0x4000_0000, without trailing zeros); none on bare metal and where the
/// hypervisor hides (bit 31 of ECX of leaf 1 is clear).
///
/// Source: Intel SDM vol. 2A and AMD APM vol. 3, "CPUID": the bit and the leaves from 0x4000_0000 on
/// are left to hypervisors; Linux reads them alike (`hypervisor_cpuid_base`).
#[must_use]
pub fn hypervisor() -> Option<String> {
    let [_, _, ecx, _] = leaf(1)?;
    if ecx & (1 << 31) == 0 {
        return None;
    }
    let [_, ebx, ecx, edx] = leaf(0x4000_0000)?;
    let bytes: Vec<u8> = [ebx, ecx, edx].into_iter().flat_map(u32::to_le_bytes).collect();
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
}

/// EAX, EBX, ECX and EDX of a leaf; none on other architectures.
#[cfg(target_arch = "x86_64")]
fn leaf(number: u32) -> Option<[u32; 4]> {
    let found = core::arch::x86_64::__cpuid(number);
    Some([found.eax, found.ebx, found.ecx, found.edx])
}

#[cfg(not(target_arch = "x86_64"))]
fn leaf(_number: u32) -> Option<[u32; 4]> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hypervisor_is_named_where_the_processors_flags_show_one() {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flagged = cpuinfo.split_whitespace().any(|word| word == "hypervisor");
        assert_eq!(hypervisor().is_some(), flagged);
    }
}

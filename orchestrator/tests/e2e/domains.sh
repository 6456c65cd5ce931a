# Domains of libvirt, for other scripts to source. Needs $work, a folder.

# `cli; jmp to itself` and the signature that the firmware looks for: a guest that asks for everything.
image=/var/lib/libvirt/images/spin.img
{ printf '\372\353\376'; head -c 507 /dev/zero; printf '\125\252'; } > $image

# define NAME PINNING [VCPUS]
define() {
  cat > $work/domain.xml <<XML
<domain type='kvm'>
  <name>$1</name><memory unit='MiB'>32</memory><vcpu>${3:-1}</vcpu><cputune>$2</cputune>
  <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
  <memtune><hard_limit unit='MiB'>512</hard_limit></memtune>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$image'/>
      <target dev='hda' bus='ide'/></disk></devices>
</domain>
XML
  virsh define $work/domain.xml > /dev/null
}

pid_of() { cat "/run/libvirt/qemu/$1.pid"; }
# vcpu_of PID [NUMBER]
vcpu_of() { grep -l "CPU ${2:-0}/KVM" /proc/$1/task/*/comm | cut -d/ -f5; }

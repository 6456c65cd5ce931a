#!/bin/sh
# Makes a Debian cloud image as distributions ship them: its own boot loader in the boot sector, its own
# kernel, cloud-init, compressed qcow2. And the same once more without cloud-init.
#
#   cloud-image.sh RELEASE URI IMAGE BARE      IMAGE, BARE: the files to make
set -eu
release=$1 uri=$2 image=$3 bare=$4
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d "$(dirname "$image")/.new-XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
packages=systemd-sysv,udev,dbus,kmod,iproute2,netplan.io,procps,linux-image-cloud-amd64,initramfs-tools,e2fsprogs,grub-pc-bin,cloud-init
mmdebstrap --quiet --variant=minbase --include="$packages" "$release" "$root" "deb $uri $release main"

echo cloud >"$root/etc/hostname"
echo 'LABEL=cloud / ext4 defaults 0 1' >"$root/etc/fstab"
chroot "$root" systemctl --quiet enable systemd-networkd
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<END
serial --unit=0
terminal_output serial
linux /vmlinuz root=LABEL=cloud ro console=ttyS0
initrd /initrd.img
boot
END
# The boot loader as it is put behind the boot sector, without a device to install it on.
chroot "$root" grub-mkimage -O i386-pc -o /boot/core.img -p '(hd0,msdos1)/boot/grub' \
    biosdisk part_msdos ext2 normal linux boot serial terminal
cp "$root/usr/lib/grub/i386-pc/boot.img" "$root/boot/core.img" "$work"

# A disk of one partition, which begins at 1 MiB.
disk() {
    # Features that this boot loader does not read.
    mkfs.ext4 -q -L cloud -O '^metadata_csum_seed,^orphan_file' -d "$root" "$work/part" 2G 2>/dev/null ||
        mkfs.ext4 -q -L cloud -d "$root" "$work/part" 2G
    truncate -s 2050M "$work/disk"
    dd if="$work/boot.img" of="$work/disk" bs=440 count=1 conv=notrunc status=none
    dd if="$work/core.img" of="$work/disk" bs=512 seek=1 conv=notrunc status=none
    # Bootable, Linux, from sector 2048, 2 GiB; and the signature.
    printf '\200\000\000\000\203\000\000\000\000\010\000\000\000\000\100\000' |
        dd of="$work/disk" bs=1 seek=446 conv=notrunc status=none
    printf '\125\252' | dd of="$work/disk" bs=1 seek=510 conv=notrunc status=none
    dd if="$work/part" of="$work/disk" bs=1M seek=1 conv=notrunc,sparse status=none
    qemu-img convert -c -O qcow2 "$work/disk" "$work/qcow2"
    rm "$work/part" "$work/disk"
    mv "$work/qcow2" "$1"
}
# The one without is made last: it is there once both are.
disk "$image"
chroot "$root" dpkg --force-depends --purge cloud-init >/dev/null 2>&1
disk "$bare"

#!/bin/sh
# Installed by `orchestrator hook install`.
#
# libvirt runs this whenever a domain starts or ends, and waits for it; to a hook that asks libvirt
# something it never answers. So this only tells systemd to start a unit, without waiting for it; the
# unit reserves CPU for the domain as /etc/rt-vm-bench/reservations.toml says. A hook that fails ends
# the domain: this one never does.
[ "$2" = started ] || exit 0
unit=$(systemd-escape --template=rt-vm-bench-reserve@.service -- "$1") &&
    # Of a domain that was started anew at once, the unit may still hold what it had.
    systemctl restart --no-block -- "$unit" ||
    logger -t rt-vm-bench -p daemon.err -- "no unit was started to reserve CPU for domain $1"
exit 0

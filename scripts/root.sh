# For other scripts to source: who does what, asked once.
#
#   $as_root   before what changes the host: `sudo` for an ordinary user, nothing for root
#   $as_user   before what builds and writes into the work tree: `sudo -u USER` where sudo made us
#              root, nothing else
#   $owner     whose the results are
#
# Needs $reason: what root is needed for. Nothing is asked where it is empty, where we are root, or
# where YES=1.
as_root=
as_user=
owner=$(id -u):$(id -g)
if [ "$(id -u)" = 0 ]; then
    if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        # sudo takes away the PATH in which rustup has put cargo.
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        PATH=$PATH:$home/.cargo/bin
        as_user="sudo -u $SUDO_USER -H env PATH=$PATH"
        owner=$SUDO_UID:$SUDO_GID
    fi
elif [ -n "$reason" ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "$reason needs root, and sudo is not installed: run as root" >&2
        exit 3
    fi
    if [ "${YES:-}" != 1 ]; then
        printf '%s needs root. Use sudo for that (and to install what is missing)? [y/N] ' \
            "$reason" >&2
        read -r answer || answer=
        case "$answer" in [yY]*) ;; *) echo "not run: $reason needs root" >&2; exit 3 ;; esac
    fi
    # Not asked again by those that we call.
    export YES=1
    sudo -v || exit 3
    as_root=sudo
fi

# What the examples and tests need from Debian. Sourced, never run.

# The commands that must be there, each with the package that has it.
PACKAGES_BY_COMMAND=(
    "dockerd:docker.io"
    "containerd:containerd"
    "runc:runc"
    "ovs-vswitchd:openvswitch-switch"
    "ovsdb-tool:openvswitch-common"
    "vtep-ctl:openvswitch-vtep"
    "etcd:etcd-server"
    "etcdctl:etcd-client"
    "redis-server:redis-server"
    "iptables:iptables"
    "ip:iproute2"
    "ping:iputils-ping"
    "tcpdump:tcpdump"
    "ethtool:ethtool"
    "unshare:util-linux"
    "setpriv:util-linux"
    "protoc:protobuf-compiler"
    "openssl:openssl"
    "sshd:openssh-server"
    "ssh:openssh-client"
    "mkfs.ext4:e2fsprogs"
    "sudo:sudo"
    "cc:gcc"
    "ld:binutils"
)

# missing_packages: prints the packages whose command is not on this machine.
missing_packages() {
    local pair
    for pair in "${PACKAGES_BY_COMMAND[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null || echo "${pair#*:}"
    done
    # The image of the containers is made from the static busybox; a dynamic one has the same command name.
    [[ $(dpkg-query -W -f '${Status}' busybox-static 2>/dev/null) == *installed ]] || echo busybox-static
    # etcd's client is built from protocol files that import Google's common ones.
    [[ -e /usr/include/google/protobuf/any.proto ]] || echo libprotobuf-dev
    [[ -e /usr/include/stdio.h ]] || echo libc6-dev
}

# require_packages: installs what is missing, and only that. Debian starts a service as it installs it; here
# that would put a system-wide dockerd, OVS and etcd on a machine that only wanted to try an example. So the
# services stay stopped (policy-rc.d, which is put back afterwards) and, under systemd, disabled.
require_packages() {
    local missing
    mapfile -t missing < <(missing_packages | sort -u)
    ((${#missing[@]} == 0)) && return
    command -v apt-get >/dev/null || die "missing: ${missing[*]}. This is no Debian, so please install them by hand."
    note "installing from Debian: ${missing[*]}"
    (
        # Two examples started together must not both move policy-rc.d aside.
        exec 9>/run/lock/sluice-packages.lock
        flock 9
        mapfile -t missing < <(missing_packages | sort -u)
        ((${#missing[@]} == 0)) && exit 0
        install_stopped "${missing[@]}"
    ) >&2 </dev/null || die "apt-get could not install: ${missing[*]} (its own words are above)"
}

install_stopped() {
    local policy=/usr/sbin/policy-rc.d kept= unit before
    before=$(enabled_units)
    if [[ -e $policy || -L $policy ]]; then
        kept=$(mktemp "$policy.XXXXXX")
        mv -f "$policy" "$kept"
    fi
    # shellcheck disable=SC2064  # expanded now, on purpose: the trap outlives this function's locals
    trap "rm -f '$policy'; [[ -z '$kept' ]] || mv -f '$kept' '$policy'" EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"

    export DEBIAN_FRONTEND=noninteractive
    # Under `||` the shell does not stop at a failure by itself, so each is looked at.
    apt-get -qq -o DPkg::Lock::Timeout=300 update || note "apt-get update failed; trying with the lists that are here"
    apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "$@" </dev/null || exit 1

    if [[ -d /run/systemd/system ]]; then
        for unit in $(comm -13 <(printf '%s\n' "$before") <(enabled_units)); do
            systemctl --quiet disable "$unit"
            note "$unit is installed but disabled; to use it: systemctl enable --now $unit"
        done
    fi
}

enabled_units() {
    [[ -d /run/systemd/system ]] || return 0
    systemctl list-unit-files --state=enabled --no-legend --plain 'docker*' 'containerd*' 'openvswitch*' 'ovs*' 'etcd*' 'redis*' |
        awk '{ print $1 }' | sort
}

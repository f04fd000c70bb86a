# Hosts in network namespaces: each its own Open vSwitch, dockerd and sluice agent, joined by one underlay.
# Sourced inside a sandbox, never run; needs say.bash.
#
# The sandbox's own network namespace plays the cable: a Linux bridge with one port a host, and the etcd server.
# A host is a network namespace with a mount namespace on it, because dockerd looks for plugins in
# /run/docker/plugins and nowhere else, so each host needs its own /run.

UNDERLAY_PREFIX=172.31.0
UNDERLAY_ETCD=$UNDERLAY_PREFIX.254
declare -A HOST_PID=() HOST_ADDRESS=()

# in_host HOST COMMAND...: runs a command on a host.
in_host() {
    local host=$1
    shift
    nsenter --target "${HOST_PID[$host]}" --mount --net -- "$@"
}

# daemon HOST NAME COMMAND...: starts a daemon on a host, logging to a file that show_logs knows.
daemon() {
    local host=$1 name=$2
    shift 2
    in_host "$host" "$@" >"$SANDBOX/$host/log/$name" 2>&1 </dev/null &
}

# show_logs: the end of every daemon's log, for when an example fails.
show_logs() {
    local log
    for log in "$SANDBOX"/*/log/*; do
        [[ -s $log ]] || continue
        printf -- '--- %s\n' "${log#"$SANDBOX"/}"
        tail -n "${SLUICE_LOG_LINES:-12}" "$log"
    done >&2
}

underlay_up() {
    ip link add underlay type bridge mcast_snooping 0
    ip address add "$UNDERLAY_ETCD/24" dev underlay
    # What reaches a userspace switch must carry finished checksums: nobody behind it will finish them.
    ethtool -K underlay tx off >/dev/null
    ip link set underlay up
}

# host_up HOST NUMBER: the namespaces, and a NIC `eth0` on the underlay.
host_up() {
    local host=$1 number=$2
    mkdir -p "$SANDBOX/$host/log"
    ip netns add "$host"
    ip link add "to-$host" type veth peer name eth0 netns "$host"
    ip link set "to-$host" master underlay up
    ip -n "$host" link set lo up
    ip netns exec "$host" ethtool -K eth0 tx off >/dev/null
    HOST_ADDRESS[$host]=$UNDERLAY_PREFIX.$number
    # shellcheck disable=SC2016  # expanded by the inner shell
    nsenter --net="/run/netns/$host" unshare --mount --propagation private bash -c '
        set -e
        mkdir -p "$1/cgroup"
        mount --rbind /sys/fs/cgroup "$1/cgroup"
        mount -t sysfs sysfs /sys
        mount --rbind "$1/cgroup" /sys/fs/cgroup
        mount -t tmpfs -o mode=755 tmpfs /run
        mkdir -p /run/lock /run/docker/plugins
        touch "$1/ready"
        exec sleep infinity' host "$SANDBOX/$host" </dev/null &
    HOST_PID[$host]=$!
    eventually 10 "namespaces of $host" test -e "$SANDBOX/$host/ready"
}

# ovs_up HOST: an Open vSwitch on the userspace datapath, with the underlay's NIC and address in br-phy.
ovs_up() {
    local host=$1 home=$SANDBOX/$1/ovs
    mkdir -p "$home"
    ovsdb-tool create "$home/conf.db" /usr/share/openvswitch/vswitch.ovsschema
    daemon "$host" ovsdb-server env OVS_RUNDIR="$home" ovsdb-server "$home/conf.db" \
        --remote="punix:$home/db.sock" --pidfile="$home/ovsdb-server.pid" --unixctl="$home/ovsdb.ctl" --no-chdir
    eventually 10 "ovsdb-server on $host" vsctl "$host" --no-wait init
    daemon "$host" ovs-vswitchd env OVS_RUNDIR="$home" ovs-vswitchd "unix:$home/db.sock" \
        --pidfile="$home/ovs-vswitchd.pid" --unixctl="$home/vswitchd.ctl" --disable-system --no-chdir
    vsctl "$host" --timeout=10 add-br br-phy -- set Bridge br-phy datapath_type=netdev fail_mode=standalone \
        -- add-port br-phy eth0
    in_host "$host" ip link set eth0 up
    in_host "$host" ip address add "${HOST_ADDRESS[$host]}/24" dev br-phy
    in_host "$host" ip link set br-phy up
    in_host "$host" ethtool -K br-phy tx off >/dev/null
}

# vsctl HOST ARGS...: ovs-vsctl for that host's switch.
vsctl() {
    local host=$1
    shift
    ovs-vsctl --timeout=10 --db="unix:$SANDBOX/$host/ovs/db.sock" "$@"
}

# etcd_up: one etcd server on the underlay.
etcd_up() {
    mkdir -p "$SANDBOX/etcd/log"
    etcd --name store --data-dir "$SANDBOX/etcd/data" \
        --listen-client-urls "http://$UNDERLAY_ETCD:2379" --advertise-client-urls "http://$UNDERLAY_ETCD:2379" \
        --listen-peer-urls "http://127.0.0.1:2380" --initial-advertise-peer-urls "http://127.0.0.1:2380" \
        --initial-cluster "store=http://127.0.0.1:2380" >"$SANDBOX/etcd/log/etcd" 2>&1 </dev/null &
    eventually 20 "etcd" env ETCDCTL_API=3 etcdctl --endpoints "http://$UNDERLAY_ETCD:2379" endpoint health
}

# agent_up HOST STORE: a sluice agent.
agent_up() {
    local host=$1 store=$2
    daemon "$host" agent "$SLUICE_BIN" agent --node "$host" --underlay "${HOST_ADDRESS[$host]}" \
        --ovs-rundir "$SANDBOX/$host/ovs" --bridge br-int --uplink-bridge br-phy --datapath netdev \
        --store "$store" --state-dir "$SANDBOX/$host/sluice" --admin-socket "$SANDBOX/$host/sluice.sock" \
        --plugin-socket /run/docker/plugins/sluice.sock --docker-socket /run/docker.sock
    eventually 20 "sluice on $host" sluice "$host" status
}

# sluice HOST ARGS...: the sluice command on a host.
sluice() {
    local host=$1
    shift
    in_host "$host" env SLUICE_ADMIN_SOCKET="$SANDBOX/$host/sluice.sock" "$SLUICE_BIN" "$@"
}

# dockerd_up HOST: a Docker engine with a private data directory, cgroup parent and configuration.
dockerd_up() {
    local host=$1 home=$SANDBOX/$1/docker
    mkdir -p "$home"
    echo '{}' >"$home/daemon.json"
    daemon "$host" dockerd dockerd --config-file "$home/daemon.json" --data-root "$home/data" \
        --host unix:///run/docker.sock --pidfile "$home/dockerd.pid" --storage-driver vfs \
        --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$SANDBOX_ID"
    eventually 60 "dockerd on $host" docker_on "$host" version
}

# docker_on HOST ARGS...: the docker command, for that host's engine and without the user's own configuration.
docker_on() {
    local host=$1
    shift
    in_host "$host" env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY -u DOCKER_CERT_PATH \
        DOCKER_CONFIG="$SANDBOX" DOCKER_HOST=unix:///run/docker.sock docker "$@"
}

# image_up HOST: imports the image `busybox`, made from Debian's static busybox; nothing is downloaded.
image_up() {
    local host=$1 rootfs=$SANDBOX/rootfs applet
    if [[ ! -d $rootfs ]]; then
        mkdir -p "$rootfs"/{bin,etc,proc,sys,dev,tmp,srv}
        cp "$(command -v busybox)" "$rootfs/bin/busybox"
        for applet in $(busybox --list); do
            [[ $applet == busybox ]] || ln -sf busybox "$rootfs/bin/$applet"
        done
    fi
    tar -C "$rootfs" -c . | docker_on "$host" import - busybox >/dev/null
}

# shown HOST docker|sluice ARGS...: prints the command as one would type it on the host, then runs it.
shown() {
    local host=$1 tool=$2
    shift 2
    printf '%s# %s %s\n' "$host" "$tool" "$*"
    case $tool in
        docker) docker_on "$host" "$@" ;;
        sluice) sluice "$host" "$@" ;;
        *) die "shown: no such tool: $tool" ;;
    esac
}

# address_of HOST CONTAINER NETWORK: the container's IPv4 address on a network.
address_of() {
    docker_on "$1" inspect --format "{{(index .NetworkSettings.Networks \"$3\").IPAddress}}" "$2"
}

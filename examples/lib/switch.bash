# A white-box switch and a bare-metal server on one of its ports. Sourced inside a sandbox, never run; needs
# hosts.bash.
#
# The switch is a host without Docker and Open vSwitch: the kernel's bridge and VXLAN, runc, and an ssh server. An ssh
# session on it finds a POSIX shell with busybox's commands and runc, and nothing else.

# switch_up SWITCH NUMBER: the namespaces, the address on the underlay, a state directory, and sshd.
switch_up() {
    local switch=$1 home=$SANDBOX/$1 applet
    host_up "$switch" "$2"
    in_host "$switch" ip link set eth0 up
    in_host "$switch" ip address add "${HOST_ADDRESS[$switch]}/24" dev eth0

    # Of its own: /etc with the accounts, /opt, and a disk of 93 MB at /var/lib. The rest of the file system is this
    # machine's.
    mkdir -p "$home"/{bin,etc,opt}
    truncate --size=93M "$home/disk"
    mkfs.ext4 -q -F "$home/disk"
    cp -a /etc/{passwd,group,shadow,nsswitch.conf,ld.so.cache} "$home/etc/"
    sed -i 's|^root:.*|root:x:0:0:root:/var/lib:/bin/sh|' "$home/etc/passwd"
    in_host "$switch" mount --bind "$home/etc" /etc
    in_host "$switch" mount --bind "$home/opt" /opt
    in_host "$switch" mount -o loop "$home/disk" /var/lib

    cp "$(command -v busybox)" "$home/bin/busybox"
    for applet in $(busybox --list); do
        # busybox's own ip makes VXLAN links without their options; nothing of ours uses it, and nobody should.
        [[ $applet == busybox || $applet == ip ]] || ln -sf busybox "$home/bin/$applet"
    done
    ln -s "$(command -v runc)" "$home/bin/runc"

    sshd_up "$switch"
}

# sshd_up SWITCH: an ssh server for root, whose key the operator has.
sshd_up() {
    local switch=$1 home=$SANDBOX/$1 ssh=$SANDBOX/ssh
    mkdir -p "$ssh" "$home/ssh"
    [[ -e $ssh/key ]] || ssh-keygen -q -t ed25519 -N '' -C operator -f "$ssh/key"
    ssh-keygen -q -t ed25519 -N '' -C "$switch" -f "$home/ssh/host_key"
    printf '%s %s\n' "${HOST_ADDRESS[$switch]}" "$(cut -d' ' -f1,2 "$home/ssh/host_key.pub")" >>"$ssh/known_hosts"
    cat >"$home/ssh/sshd_config" <<-CONFIG
		ListenAddress ${HOST_ADDRESS[$switch]}
		HostKey $home/ssh/host_key
		PidFile none
		AuthorizedKeysFile $ssh/key.pub
		StrictModes no
		PasswordAuthentication no
		PermitRootLogin prohibit-password
		UsePAM no
		SetEnv PATH=$home/bin
	CONFIG
    # sshd separates its privileges there, and starts a root's shell from /etc/passwd.
    in_host "$switch" mkdir -p /run/sshd
    daemon "$switch" sshd "$(PATH=$PATH:/usr/sbin command -v sshd)" -D -e -f "$home/ssh/sshd_config"
    cat >"$ssh/config" <<-CONFIG
		Host *
		    User root
		    IdentityFile $ssh/key
		    IdentitiesOnly yes
		    UserKnownHostsFile $ssh/known_hosts
		    StrictHostKeyChecking yes
	CONFIG
    eventually 10 "sshd on $switch" ssh -F "$ssh/config" "${HOST_ADDRESS[$switch]}" true
}

# server_up SERVER SWITCH PORT ADDRESS: a server without any software of ours, on a port of the switch.
server_up() {
    local server=$1 switch=$2 port=$3 address=$4
    ip netns add "$server"
    ip link add "$port" netns "$switch" type veth peer name eth0 netns "$server"
    # A physical port finishes checksums; this cable has to be told not to leave them to the far end.
    ip netns exec "$server" ethtool -K eth0 tx off >/dev/null
    ip -n "$server" link set lo up
    ip -n "$server" link set eth0 mtu 1450 up
    ip -n "$server" address add "$address" dev eth0
    ip -n "$switch" link set "$port" up
}

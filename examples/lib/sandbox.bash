# A place of its own for an example: PID, mount and network namespaces that end with the script.
# Sourced, never run; needs say.bash.
#
# Nothing in here has to be undone step by step. Every daemon and container lives in one PID namespace, every
# link in network namespaces, and every file on a tmpfs of the sandbox's mount namespace. When the first
# process of the PID namespace ends, for whatever reason, the kernel ends the others and drops the rest. That
# holds for Ctrl-C, for kill, for a failure half-way, and for a SIGKILL to the script. All that the kernel
# leaves are empty cgroup directories and one empty directory in /tmp, which sandbox_end removes.

# require_root ARGS...: goes on as root.
require_root() {
    ((EUID == 0)) && return
    command -v sudo >/dev/null || die "this makes network namespaces, so it must run as root"
    note "network namespaces need root: going on with sudo"
    exec sudo ${SLUICE_SANDBOX:+"SLUICE_SANDBOX=$SLUICE_SANDBOX"} ${SLUICE_BIN:+"SLUICE_BIN=$SLUICE_BIN"} ${CARGO_TARGET_DIR:+"CARGO_TARGET_DIR=$CARGO_TARGET_DIR"} "$@"
}

# run_in_sandbox SCRIPT ARGS...: runs the script as the first process of a new sandbox, and returns its status.
# Inside, SANDBOX is a directory that nobody else uses and SANDBOX_ID a name that nobody else has.
run_in_sandbox() {
    SANDBOX=$(mktemp -d "${TMPDIR:-/tmp}/sluice.XXXXXX")
    SANDBOX_ID=sluice-${SANDBOX##*.}
    export SANDBOX SANDBOX_ID
    SANDBOX_PID=
    trap sandbox_end EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # setpriv ends unshare with this script, and --kill-child ends the sandbox with unshare.
    setpriv --pdeathsig KILL \
        unshare --mount --propagation private --net --uts --ipc --pid --fork --kill-child --mount-proc \
        bash -c '. "$1/sandbox.bash"; shift; sandbox_begin; exec "$@"' sandbox "${BASH_SOURCE[0]%/*}" "$@" </dev/null &
    SANDBOX_PID=$!
    local status=0
    wait "$SANDBOX_PID" || status=$?
    return "$status"
}

# Inside: a /run and a working directory of our own, and a loopback that is up.
sandbox_begin() {
    set -euo pipefail
    mount -t tmpfs -o mode=755 tmpfs "$SANDBOX"
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/lock /run/netns
    hostname sandbox
    ip link set lo up
    cd "$SANDBOX"
}

sandbox_end() {
    trap '' HUP INT TERM
    if [[ -n $SANDBOX_PID ]]; then
        # Ending the first process inside, rather than unshare, lets `wait` return only once all are gone.
        local first
        first=$(cat "/proc/$SANDBOX_PID/task/$SANDBOX_PID/children" 2>/dev/null || true)
        # shellcheck disable=SC2086  # one pid, or none
        kill -KILL ${first:-$SANDBOX_PID} 2>/dev/null || true
        wait "$SANDBOX_PID" 2>/dev/null || true
    fi
    local directory
    for directory in /sys/fs/cgroup/"$SANDBOX_ID" /sys/fs/cgroup/*/"$SANDBOX_ID"; do
        [[ -d $directory ]] && find "$directory" -depth -type d -exec rmdir {} + 2>/dev/null
    done
    rmdir "$SANDBOX" 2>/dev/null || true
}

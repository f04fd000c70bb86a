# Output and waiting, for the example scripts. Sourced, never run.

# say TEXT...: a step of the example, on standard output.
say() { printf '==> %s\n' "$*"; }

# note TEXT...: what happens on the side (installing, building), on standard error, so that the
# output proper stays the same from run to run.
note() { printf '    %s\n' "$*" >&2; }

# die TEXT...: ends the example with a reason.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# eventually SECONDS WHAT COMMAND...: repeats COMMAND until it succeeds. At the deadline the command's last
# words are shown, because "timed out" alone helps nobody.
eventually() {
    local limit=$1 what=$2 deadline last
    shift 2
    deadline=$((SECONDS + limit))
    until last=$("$@" 2>&1); do
        if ((SECONDS >= deadline)); then
            die "$what: still not so after $limit s; the last attempt said: ${last:-nothing}"
        fi
        sleep 0.05
    done
}

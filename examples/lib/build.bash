# Builds sluice. Sourced, never run; needs say.bash.

# build_sluice ROOT: sets SLUICE_BIN to the command built from this tree, unless it is already set (the tests
# set it to the binary that they test).
build_sluice() {
    local root=$1
    if [[ -n ${SLUICE_BIN:-} ]]; then
        [[ -x $SLUICE_BIN ]] || die "SLUICE_BIN is set to $SLUICE_BIN, which is not an executable file"
        export SLUICE_BIN
        return
    fi
    find_cargo
    note "building sluice (the first time takes some minutes)"
    "${CARGO[@]}" build --quiet --release --locked --manifest-path "$root/Cargo.toml" --package sluice --bin sluice >&2 ||
        die "the build failed (cargo's own words are above)"
    SLUICE_BIN=$("${CARGO[@]}" metadata --format-version 1 --no-deps --manifest-path "$root/Cargo.toml" |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release/sluice
    export SLUICE_BIN
}

# find_cargo: sets CARGO. Under sudo, cargo is the calling user's, and runs as that user, so that the user can
# still build there afterwards.
find_cargo() {
    local home
    if [[ -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        if [[ -x $home/.cargo/bin/cargo ]]; then
            CARGO=(sudo -H -u "$SUDO_USER" env "PATH=$home/.cargo/bin:/usr/bin:/bin"
                ${CARGO_TARGET_DIR:+"CARGO_TARGET_DIR=$CARGO_TARGET_DIR"} cargo)
            return
        fi
    fi
    PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || die "cargo is not on the PATH. Install Rust (rustup) and run this again."
    CARGO=(cargo)
}

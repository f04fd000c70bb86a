# Targets of the switches' binaries, and what it takes to compile for them. Sourced, never run; needs say.bash and
# packages.bash of examples/lib, and `root`, the workspace.
#
# The binaries are static, with musl's libc, which comes with Rust's target. The few C sources among the dependencies
# (zstd, ring) want a C compiler for the target. For x86_64 that is musl-gcc. For aarch64 Debian has a cross compiler
# with glibc's headers. That will do: those sources call memory and string functions and little else, and what only
# glibc has would not link.

declare -A TARGETS=(
    [x86_64]=x86_64-unknown-linux-musl
    [aarch64]=aarch64-unknown-linux-musl
    [armv7]=armv7-unknown-linux-gnueabihf
    [powerpc]=powerpc-unknown-linux-gnu
)
declare -A COMPILERS=(
    [x86_64]=musl-gcc
    [aarch64]=aarch64-linux-gnu-gcc
    [armv7]=arm-linux-gnueabihf-gcc
    [powerpc]=powerpc-linux-gnu-gcc
)
# Debian's packages with the compilers, and with the headers where those are others.
declare -A COMPILER_PACKAGES=(
    [x86_64]=musl-tools
    [aarch64]="gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    [armv7]="gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"
    [powerpc]="gcc-powerpc-linux-gnu libc6-dev-powerpc-cross"
)

# require_tools ARCH...: installs what is missing of Debian's packages and of Rust's targets.
require_tools() {
    local arch missing=()
    PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    command -v cargo >/dev/null || die "cargo is not on the PATH. Install Rust (rustup) and run this again."
    for arch in "$@"; do
        # shellcheck disable=SC2206  # several packages, by words
        command -v "${COMPILERS[$arch]}" >/dev/null || missing+=(${COMPILER_PACKAGES[$arch]})
    done
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v protoc >/dev/null || missing+=(protobuf-compiler)
    command -v file >/dev/null || missing+=(file)
    [[ -e /usr/include/google/protobuf/any.proto ]] || missing+=(libprotobuf-dev)
    if ((${#missing[@]} > 0)); then
        ((EUID == 0)) || die "missing: ${missing[*]}. Install them, or run this as root."
        note "installing from Debian: ${missing[*]}"
        (install_stopped "${missing[@]}") >&2 </dev/null ||
            die "apt-get could not install: ${missing[*]} (its own words are above)"
    fi
    for arch in "$@"; do
        [[ -d $(rustc --print target-libdir --target "${TARGETS[$arch]}") ]] && continue
        command -v rustup >/dev/null || die "there is no Rust library for ${TARGETS[$arch]}, and no rustup to get it"
        rustup --quiet target add "${TARGETS[$arch]}" >&2 || die "rustup could not add ${TARGETS[$arch]}"
    done
}

# cargo_for ARCH COMMAND ARGS...: cargo with that architecture's compiler and linker.
cargo_for() {
    local arch=$1 command=$2 triple=${TARGETS[$1]} compiler=${COMPILERS[$1]} upper
    shift 2
    upper=${triple^^}
    # Rust's own musl start files and libc are linked by any linker that knows the processor; musl-gcc would bring
    # Debian's in besides.
    [[ $arch == x86_64 && $(uname -m) == x86_64 ]] && compiler=cc
    env "CC_${triple//-/_}=${COMPILERS[$arch]}" "CARGO_TARGET_${upper//-/_}_LINKER=$compiler" \
        cargo "$command" --quiet --locked --manifest-path "$root/Cargo.toml" --target "$triple" "$@" >&2
}

# linkage BINARY: "static-pie" or what else file(1) says.
linkage() {
    local said
    said=$(file -b "$1")
    case $said in
        *static-pie*) echo static-pie ;;
        *) echo "not static-pie: $said" ;;
    esac
}

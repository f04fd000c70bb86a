//! This program for the machines of the fleet: which file is for which machine, and how it gets there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hashing};

/// A machine by the name that uname(1) gives it, as ELF files and OCI images name it.
struct Machine {
    names: &'static [&'static str],
    /// Class, byte order and `e_machine` of elf(5).
    elf: Elf,
    /// What images for it say.
    platforms: &'static [&'static str],
}

/// What elf(5)'s header says about a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Elf {
    class: u8,
    data: u8,
    machine: u16,
}

const fn elf(class: u8, data: u8, machine: u16) -> Elf {
    Elf { class, data, machine }
}

const MACHINES: [Machine; 8] = [
    Machine { names: &["x86_64"], elf: elf(2, 1, 62), platforms: &["amd64", "386"] },
    Machine { names: &["i386", "i486", "i586", "i686"], elf: elf(1, 1, 3), platforms: &["386"] },
    Machine { names: &["aarch64"], elf: elf(2, 1, 183), platforms: &["arm64", "arm"] },
    Machine { names: &["armv6l", "armv7l", "armv7b", "armv8l"], elf: elf(1, 1, 40), platforms: &["arm"] },
    Machine { names: &["ppc"], elf: elf(1, 2, 20), platforms: &["ppc"] },
    Machine { names: &["ppc64"], elf: elf(2, 2, 21), platforms: &["ppc64"] },
    Machine { names: &["ppc64le"], elf: elf(2, 1, 21), platforms: &["ppc64le"] },
    Machine { names: &["riscv64"], elf: elf(2, 1, 243), platforms: &["riscv64"] },
];

fn machine(name: &str) -> Option<&'static Machine> {
    MACHINES.iter().find(|machine| machine.names.contains(&name))
}

/// The architectures of images that run on a machine, the best first; none for one that we do not know.
pub(super) fn platforms(name: &str) -> Option<&'static [&'static str]> {
    machine(name).map(|machine| machine.platforms)
}

/// This program for one kind of machine.
#[derive(Debug)]
pub struct Program {
    /// Where it is on the workstation.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    elf: Elf,
    file: File,
}

/// Why there is no program for a machine.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The file.
    #[error("the program `{path}`: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a program.
    #[error("`{0}` is no ELF program; give the sluice-switch that is to run on the boxes")]
    NoElf(PathBuf),
    /// None for this machine.
    #[error("no sluice-switch for {machine} is here (there is: {have}); give one with --program FILE")]
    None {
        /// The machine.
        machine: String,
        /// Those that there are.
        have: String,
    },
}

impl Program {
    /// Reads a program's file.
    ///
    /// # Errors
    /// When it cannot be read or is no program.
    pub fn read(path: &Path) -> Result<Self, ProgramError> {
        let io = |source| ProgramError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let mut head = [0; 20];
        file.read_exact_at(&mut head, 0).map_err(io)?;
        let [0x7f, b'E', b'L', b'F', class, data, ..] = head else {
            return Err(ProgramError::NoElf(path.to_owned()));
        };
        let number = [head[18], head[19]];
        let machine = if data == 2 { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
        let mut content = Hashing::new(&file);
        io::copy(&mut content, &mut io::sink()).map_err(io)?;
        let (digest, size, _) = content.finish();
        Ok(Self { path: path.to_owned(), digest, size, elf: Elf { class, data, machine }, file })
    }

    /// Its content.
    pub fn content(&self) -> impl Read + use<'_> {
        crate::rootfs::Section { file: &self.file, at: 0, left: self.size }
    }

    fn machines(&self) -> String {
        let fits = MACHINES.iter().filter(|machine| machine.elf == self.elf);
        fits.map(|machine| machine.names[0]).collect::<Vec<_>>().join(" ")
    }
}

/// The programs that there are.
#[derive(Debug, Default)]
pub struct Programs(Vec<Program>);

impl Programs {
    /// The given ones, and the one that runs.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(given: &[PathBuf]) -> Result<Self, ProgramError> {
        let mut programs: Vec<Program> =
            given.iter().map(|path| Program::read(path)).collect::<Result<_, _>>()?;
        programs.push(Program::read(Path::new("/proc/self/exe"))?);
        Ok(Self(programs))
    }

    /// The one for a machine; a given one rather than the one that runs.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, name: &str) -> Result<&Program, ProgramError> {
        let wanted = machine(name).map(|machine| machine.elf);
        let found = self.0.iter().find(|program| Some(program.elf) == wanted);
        found.ok_or_else(|| {
            let have: Vec<String> = self.0.iter().map(Program::machines).collect();
            ProgramError::None { machine: name.escape_default().to_string(), have: have.join(", ") }
        })
    }
}

/// The shell script that takes in a program from its standard input. It has its name only when it is whole.
pub(super) fn push_script(to: &str, size: u64) -> String {
    let to = super::transport::quote(to);
    format!(
        "set -e; umask 022; p={to}; d=${{p%/*}}; t=\"$p.new.$$\"; mkdir -p \"$d\"; trap 'rm -f \"$t\"' EXIT; \
         cat > \"$t\"; s=$(wc -c < \"$t\"); if [ \"$s\" -ne {size} ]; then echo \"$s of {size} bytes came\" >&2; \
         exit 1; fi; chmod 755 \"$t\"; mv -f \"$t\" \"$p\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_runs_is_for_the_machine_that_it_runs_on() {
        let programs = Programs::read(&[]).unwrap();
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        let own = programs.find(&machine).unwrap();
        let mut content = Vec::new();
        own.content().read_to_end(&mut content).unwrap();
        assert_eq!((content.len() as u64, Digest::of(&content)), (own.size, own.digest));
        let error = programs.find("sparc64").unwrap_err().to_string();
        assert!(
            error.contains("sparc64") && error.contains(&machine) && error.contains("--program"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "#!/bin/sh\necho this is a script\n").unwrap();
        assert!(matches!(Program::read(file.path()), Err(ProgramError::NoElf(_))));
    }
}

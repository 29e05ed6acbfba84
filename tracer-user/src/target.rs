//! From what the user named to a process whose runtime is understood.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::{Glob, GlobMatcher};
use tracer_golang::binary::{Arch, BinaryError, GoBinary};
use tracer_golang::process::{GoProcess, ProcessError};

use crate::document;
use crate::failure::Failure;

/// A process to trace and all that is known of its binary.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) pid: u32,
    pub(crate) binary: Arc<GoBinary>,
    /// The path through which the running file can be opened, even when it was replaced on disk.
    pub(crate) file: PathBuf,
    pub(crate) info: document::Target,
}

impl Target {
    /// Looks at the executable of a running process.
    ///
    /// # Errors
    /// There is no such process, it may not be looked at, or its program is not one that gotrace
    /// can trace.
    pub(crate) fn of_pid(pid: u32) -> Result<Target, Failure> {
        let Executable {
            file,
            exe,
            replaced,
        } = Executable::of(pid)?;
        let binary = GoBinary::open(&file).map_err(|error| {
            not_traceable(&format!("process {pid} ({})", exe.display()), &error)
        })?;
        Self::new(pid, file, exe, replaced, Arc::new(binary))
    }

    /// The same of a process whose program is known.
    ///
    /// # Errors
    /// There is no such process, or it may not be looked at.
    pub(crate) fn of_known(pid: u32, binary: Arc<GoBinary>) -> Result<Target, Failure> {
        let Executable {
            file,
            exe,
            replaced,
        } = Executable::of(pid)?;
        Self::new(pid, file, exe, replaced, binary)
    }

    /// Looks at an executable that `pid` is about to run.
    ///
    /// # Errors
    /// The program is not one that gotrace can trace.
    pub(crate) fn of_program(pid: u32, program: &Path) -> Result<Target, Failure> {
        let binary = GoBinary::open(program)
            .map_err(|error| not_traceable(&program.display().to_string(), &error))?;
        let program = program.to_owned();
        Self::new(pid, program.clone(), program, false, Arc::new(binary))
    }

    fn new(
        pid: u32,
        file: PathBuf,
        exe: PathBuf,
        replaced: bool,
        binary: Arc<GoBinary>,
    ) -> Result<Target, Failure> {
        if binary.arch() != HOST {
            return Err(
                Failure::new(format!("cannot trace process {pid} ({})", exe.display()))
                    .because(format!(
                        "it is an {} program on an {HOST} host",
                        binary.arch()
                    ))
                    .next("run gotrace on a host of the program's architecture"),
            );
        }
        let info = document::Target {
            pid,
            exe,
            replaced,
            build_id: binary.build_id().to_string(),
            go_version: binary.go_version().to_string(),
            arch: binary.arch().name().to_owned(),
            main: binary.main_path().map(str::to_owned),
            stripped: binary.is_stripped(),
            pie: binary.is_pie(),
            layout: binary.layout_origin().to_string(),
            layout_assumed: binary.layout_origin().is_assumed(),
        };
        Ok(Target {
            pid,
            binary,
            file,
            info,
        })
    }

    /// Opens the process' memory and checks that the runtime is where it is expected.
    ///
    /// # Errors
    /// The memory may not be read, the process ended, or something in it is not as expected.
    pub(crate) fn process(&self) -> Result<GoProcess, Failure> {
        GoProcess::attach(self.pid, Arc::clone(&self.binary))
            .map_err(|error| self.unreadable(&error))
    }

    /// What a failure to read the process means for the user.
    pub(crate) fn unreadable(&self, error: &ProcessError) -> Failure {
        let what = Failure::new(format!(
            "cannot read process {} ({})",
            self.pid,
            self.info.exe.display()
        ))
        .because(error);
        if error.is_gone() {
            what.next("it has ended: start it again and give its new pid")
        } else if error.is_denied() {
            what.next("run gotrace as root, or give it CAP_SYS_PTRACE")
        } else {
            what.next("please report this with the output of `go version -m` for the executable")
        }
    }
}

/// The file that a process runs.
struct Executable {
    /// The path through which it can be opened.
    file: PathBuf,
    /// Its name.
    exe: PathBuf,
    /// Whether it is not on disk any more.
    replaced: bool,
}

impl Executable {
    fn of(pid: u32) -> Result<Executable, Failure> {
        let file = PathBuf::from(format!("/proc/{pid}/exe"));
        let link = std::fs::read_link(&file).map_err(|error| no_executable(pid, &error))?;
        let shown = link.to_string_lossy();
        let (exe, replaced) = match shown.strip_suffix(" (deleted)") {
            Some(path) => (PathBuf::from(path), true),
            None => (link.clone(), false),
        };
        Ok(Executable {
            file,
            exe,
            replaced,
        })
    }
}

#[cfg(target_arch = "x86_64")]
const HOST: Arch = Arch::Amd64;
#[cfg(target_arch = "aarch64")]
const HOST: Arch = Arch::Arm64;

fn not_traceable(what: &str, error: &BinaryError) -> Failure {
    // These errors say what is wrong, then what to do.
    let message = error.to_string();
    let failure = Failure::new(format!("cannot trace {what}"));
    if let BinaryError::Io { source, .. } = error
        && source.kind() == std::io::ErrorKind::PermissionDenied
    {
        return failure.because(message).next(
            "only its owner may read it: run gotrace as root, or give it CAP_DAC_READ_SEARCH",
        );
    }
    match message.split_once("; ") {
        Some((cause, next)) => failure.because(cause).next(next),
        None => failure.because(message),
    }
}

fn no_executable(pid: u32, error: &std::io::Error) -> Failure {
    let failure = Failure::new(format!("cannot trace process {pid}"));
    match error.kind() {
        std::io::ErrorKind::NotFound if Path::new(&format!("/proc/{pid}")).exists() => failure
            .because("it has no executable (a kernel thread, or it is ending)")
            .next("give the pid of a running Go program"),
        std::io::ErrorKind::NotFound => failure
            .because("no such process")
            .next("look the pid up, for example with `pgrep -a NAME`, or use --name"),
        std::io::ErrorKind::PermissionDenied => failure
            .because("CAP_SYS_PTRACE is missing: another user's process may not be looked at")
            .next("run gotrace as root (sudo)"),
        _ => failure
            .because(error)
            .next("check that the process is running"),
    }
}

/// Finds the one Go process whose name matches.
///
/// # Errors
/// None or several match.
pub(crate) fn pid_by_name(pattern: &str) -> Result<u32, Failure> {
    let glob = Glob::new(pattern)
        .map_err(|error| {
            Failure::new(format!("`{pattern}` is not a pattern"))
                .because(error)
                .next("use a glob such as `api*`")
        })?
        .compile_matcher();
    let matches = matching(&glob)?;
    match &matches[..] {
        [(pid, _)] => Ok(*pid),
        [] => Err(Failure::new(format!("no running Go program is named `{pattern}`"))
            .next("list candidates with `pgrep -a NAME`; the pattern is matched against the whole name")),
        several => {
            let list: Vec<String> = several.iter().map(|(pid, name)| format!("{pid} ({name})")).collect();
            Err(Failure::new(format!("{} Go programs are named `{pattern}`", several.len()))
                .because(list.join(", "))
                .next("choose one by its pid"))
        }
    }
}

fn matching(glob: &GlobMatcher) -> Result<Vec<(u32, String)>, Failure> {
    let processes = procfs::process::all_processes().map_err(|error| {
        Failure::new("cannot list processes")
            .because(error)
            .next("is /proc mounted?")
    })?;
    let mut found = Vec::new();
    for process in processes.flatten() {
        let (Ok(pid), Ok(exe)) = (u32::try_from(process.pid), process.exe()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let name = file_name(&exe);
        let command = process.stat().map(|stat| stat.comm).unwrap_or_default();
        let named = glob.is_match(&name) || glob.is_match(&command);
        if named && GoBinary::open(Path::new(&format!("/proc/{pid}/exe"))).is_ok() {
            found.push((pid, name));
        }
    }
    Ok(found)
}

/// The name of an executable as `/proc/PID/exe` has it, also where it is not on disk any more.
pub(crate) fn file_name(exe: &Path) -> String {
    let name = exe.file_name().unwrap_or_default().to_string_lossy();
    name.trim_end_matches(" (deleted)").to_owned()
}

//! What the file says, once per build id: architecture, Go version, layouts, variables, functions,
//! hook sites. No live process is needed, and a stripped file says nearly as much as any other.
//!
//! [`GoBinary`] is the way in. All addresses are link-time addresses ([`Vaddr`]); in a process they
//! are higher by the load bias, which is not 0 for position independent files.
//!
//! Every byte of the file is foreign: reads are checked, and what is not recognised is an error that
//! names it, never a guess.

mod build_id;
mod build_info;
mod code;
mod dwarf;
mod elf;
mod moduledata;
mod pclntab;
mod result;
mod sites;
mod statics;
mod table;
mod variables;
mod version;
mod wait_reasons;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracer_common::Hook;

use crate::layout::{LayoutSource, MissingLayout, RuntimeLayout};

pub use build_id::BuildId;
pub(crate) use code::References;
pub use elf::Segment;
pub use pclntab::{Function, LiveSlots, Pclntab};
pub use sites::{HookSite, SiteError};
pub(crate) use statics::{Content, Statics};
pub use table::{ExtractError, LayoutTable};
pub use variables::RuntimeVariables;
pub use version::GoVersion;
pub use wait_reasons::WaitReasons;

use build_info::BuildInfo;
use dwarf::{DwarfLayouts, DwarfSections};
use elf::Elf;
use moduledata::ModuleData;

macro_rules! file_address {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    )*};
}

file_address! {
    /// A link-time address: the address in a process minus the load bias.
    Vaddr,
    /// A position in the file, bytes.
    FileOffset,
}

/// An architecture that gotrace can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Arch {
    /// As GOARCH spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a binary's layouts came from. All but the first two are assumptions, which hold only when a
/// live target passes the self-check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutOrigin {
    /// The binary's own DWARF; for structs that the program does not use, the table, which has
    /// exactly this version.
    Dwarf,
    /// The table, which has exactly this version.
    Table,
    /// The table's entry for another patch release of the same minor version (named here), or for
    /// the same release without the experiments or changes that the version string names.
    TableNearest(&'static str),
    /// The table's newest version (named here): this binary's is newer.
    TableNewest(&'static str),
}

impl LayoutOrigin {
    /// Whether the layouts are those of another Go version, so that a live target must prove them.
    pub fn is_assumed(self) -> bool {
        matches!(
            self,
            LayoutOrigin::TableNearest(_) | LayoutOrigin::TableNewest(_)
        )
    }
}

impl fmt::Display for LayoutOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutOrigin::Dwarf => f.write_str("the binary's DWARF"),
            LayoutOrigin::Table => f.write_str("gotrace's table"),
            LayoutOrigin::TableNearest(version) => {
                write!(f, "gotrace's table for {version}, proven by the self-check")
            }
            LayoutOrigin::TableNewest(version) => {
                write!(
                    f,
                    "gotrace's table for {version}, its newest, proven by the self-check"
                )
            }
        }
    }
}

/// Why a file cannot be read as a Go program.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// The file cannot be opened or mapped.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is no ELF file.
    #[error("not an ELF file; gotrace traces Go programs that were built for Linux")]
    NotElf,
    /// The file is a 32 bit program.
    #[error(
        "a 32 bit program; gotrace reads amd64 and arm64 only, rebuild it with GOARCH=amd64 or arm64"
    )]
    Not64Bit,
    /// The file is for another architecture.
    #[error("built for {0}; gotrace reads amd64 and arm64 only")]
    OtherArchitecture(Box<str>),
    /// The file's structure is broken.
    #[error("malformed ELF file: {0}; is it complete?")]
    Malformed(String),
    /// The file has neither a Go pclntab nor Go build information.
    #[error(
        "not a Go program: it has neither Go build information nor a Go function table; if it is a launcher, name the real program; Go code in a shared library is not read"
    )]
    NotGo,
    /// The file is packed.
    #[error(
        "packed by UPX, so its code exists in memory alone; unpack it (`upx -d`) or start a build that is not packed"
    )]
    Packed,
    /// A Go program without build information and symbols.
    #[error(
        "a Go program whose version cannot be told: it has neither build information (the section .go.buildinfo) nor symbols; start a build that keeps one of them"
    )]
    NoBuildInfo,
    /// A Go program whose functions have other names.
    #[error(
        "obfuscated: the names of the Go runtime's functions are not in its pclntab (garble does so), and they are what gotrace finds goroutines by; start a build that is not obfuscated"
    )]
    Obfuscated,
    /// A Go program, but its version cannot be told.
    #[error(
        "a Go program of a version that cannot be told ({0}); gotrace reads Go 1.19 and later, rebuild it with such a toolchain"
    )]
    VersionUnknown(Box<str>),
    /// A Go version that is not supported.
    #[error("built by {0}; gotrace reads Go 1.19 and later, rebuild it with such a toolchain")]
    VersionTooOld(Box<str>),
    /// A part of the runtime was not found: the binary is stripped or obfuscated beyond reading, or
    /// its Go version is new.
    #[error(
        "{0} was not found in this binary: it is obfuscated, or its Go version is not known; try a build with symbols (no -ldflags=-s) and DWARF (no -w), or a newer gotrace"
    )]
    Unrecognised(&'static str),
    /// The layout of a runtime structure is not known.
    #[error(
        "{missing} (built by {version}, for {arch}); build it without -ldflags=-w, so that it carries DWARF, or use a newer gotrace"
    )]
    Layout {
        /// What is missing.
        missing: MissingLayout,
        /// The Go version.
        version: Box<str>,
        /// The architecture.
        arch: Arch,
    },
}

/// A Go program's file. Immutable; put it in an `Arc` to share it.
#[derive(Debug)]
pub struct GoBinary {
    elf: Arc<Elf>,
    build_info: BuildInfo,
    build_id: BuildId,
    stripped: bool,
    has_dwarf: bool,
    layout: RuntimeLayout,
    layout_origin: LayoutOrigin,
    variables: RuntimeVariables,
    pclntab: Pclntab,
    wait_reasons: WaitReasons,
}

impl GoBinary {
    /// Opens and reads a file; `/proc/PID/exe` works. The file stays mapped.
    ///
    /// # Errors
    /// Says what the file is not, or what was not recognised in it.
    pub fn open(path: &Path) -> Result<GoBinary, BinaryError> {
        GoBinary::new(Elf::open(path)?)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// As [`GoBinary::open`].
    pub fn parse(bytes: Vec<u8>) -> Result<GoBinary, BinaryError> {
        GoBinary::new(Elf::parse(bytes)?)
    }

    /// Reads the functions of a plugin for this program, which are built by the same Go version.
    ///
    /// # Errors
    /// Says what the file is not, or what was not recognised in it.
    pub fn open_plugin(&self, path: &Path) -> Result<Pclntab, BinaryError> {
        let elf = Arc::new(Elf::open(path)?);
        let headers = pclntab::Header::candidates(&elf);
        let (_, pclntab) = find_table(&elf, headers, &self.layout)?;
        Ok(pclntab)
    }

    fn new(elf: Elf) -> Result<GoBinary, BinaryError> {
        let elf = Arc::new(elf);
        let headers = pclntab::Header::candidates(&elf);
        let build_info = match BuildInfo::read(&elf)? {
            None => BuildInfo::from_symbols(&elf).or_else(|| {
                let version = headers.iter().find_map(|of| version_from_code(&elf, of))?;
                Some(BuildInfo {
                    version,
                    main_path: None,
                })
            }),
            known => known,
        };
        let build_info = match (build_info, headers.is_empty()) {
            (None, true) if elf.is_packed() => return Err(BinaryError::Packed),
            (None, true) => return Err(BinaryError::NotGo),
            (None, false) => return Err(BinaryError::NoBuildInfo),
            (Some(_), true) => return Err(BinaryError::Unrecognised("the pclntab")),
            (Some(build_info), false) => build_info,
        };
        if build_info.version.number() < (1, 19, 0) {
            return Err(BinaryError::VersionTooOld(
                build_info.version.as_str().into(),
            ));
        }
        let (layout, layout_origin) = find_layout(&elf, &build_info.version)?;
        let (module, pclntab) = find_table(&elf, headers, &layout)?;
        if OBVIOUS.iter().all(|name| pclntab.lookup(name).is_none()) {
            return Err(BinaryError::Obfuscated);
        }
        let variables = match RuntimeVariables::from_symbols(&elf, &module) {
            Some(variables) => variables,
            None => RuntimeVariables::from_code(&elf, &pclntab, &module, &layout)?,
        };
        let wait_reasons = match WaitReasons::from_symbols(&elf) {
            Some(reasons) => reasons?,
            None => WaitReasons::from_code(&elf, &pclntab, &module)?,
        };
        Ok(GoBinary {
            build_id: BuildId::read(&elf),
            stripped: !elf.has_symbols(),
            has_dwarf: elf.has_section(".debug_info"),
            build_info,
            layout,
            layout_origin,
            variables,
            pclntab,
            wait_reasons,
            elf,
        })
    }

    /// Gives memory back that holds what was read of the file so far; it is read again where it is needed.
    /// Worth it once all sites are found, which takes a look at much of the file.
    pub fn release(&self) {
        self.elf.release();
    }

    /// The architecture.
    pub fn arch(&self) -> Arch {
        self.elf.arch()
    }

    /// The version of the Go toolchain that built it.
    pub fn go_version(&self) -> &GoVersion {
        &self.build_info.version
    }

    /// What identifies this build.
    pub fn build_id(&self) -> &BuildId {
        &self.build_id
    }

    /// Whether it is loaded at an address that differs from process to process.
    pub fn is_pie(&self) -> bool {
        self.elf.is_position_independent()
    }

    /// Whether it has no symbol table.
    pub fn is_stripped(&self) -> bool {
        self.stripped
    }

    /// Whether it has DWARF.
    pub fn has_dwarf(&self) -> bool {
        self.has_dwarf
    }

    /// Import path of the main package, if the build information says it.
    pub fn main_path(&self) -> Option<&str> {
        self.build_info.main_path.as_deref()
    }

    /// Where the runtime keeps what.
    pub fn layout(&self) -> &RuntimeLayout {
        &self.layout
    }

    /// Where the layouts came from.
    pub fn layout_origin(&self) -> LayoutOrigin {
        self.layout_origin
    }

    /// Where the runtime's variables are.
    pub fn variables(&self) -> &RuntimeVariables {
        &self.variables
    }

    /// Functions, lines, frames.
    pub fn pclntab(&self) -> &Pclntab {
        &self.pclntab
    }

    /// What the values of `g.waitreason` mean.
    pub fn wait_reasons(&self) -> &WaitReasons {
        &self.wait_reasons
    }

    /// Where probes are to be placed, for every hook. Channel and select hooks are left out if the
    /// program does not contain their functions.
    ///
    /// # Errors
    /// Names the function and the instruction that is not as expected.
    pub fn hook_sites(&self) -> Result<Vec<HookSite>, SiteError> {
        sites::all(&self.elf, &self.pclntab)
    }

    /// Where the probe of one hook is to be placed.
    ///
    /// # Errors
    /// Names the function that is absent, or the instruction that is not as expected.
    pub fn hook_site(&self, hook: Hook) -> Result<HookSite, SiteError> {
        sites::find(&self.elf, &self.pclntab, hook)
    }

    /// What is loaded where.
    pub fn segments(&self) -> &[Segment] {
        self.elf.segments()
    }

    /// Where the byte at `vaddr` is in the file; `None` for bss and what is not loaded.
    pub fn file_offset(&self, vaddr: Vaddr) -> Option<FileOffset> {
        self.elf.file_offset(vaddr)
    }

    /// `runtime.allfin`, the list of blocks of finalizers that are about to run. `None` if it is stripped.
    pub(crate) fn queued_finalizers(&self) -> Option<Vaddr> {
        let [list] = self.elf.symbols(["runtime.allfin"]);
        list.map(|symbol| symbol.vaddr)
    }

    /// Its static memory by the linker's symbols. `None` if it is stripped.
    pub(crate) fn statics(&self) -> Option<Statics> {
        Statics::read(&self.elf, self.layout.types)
    }

    /// What the code of a function refers to: of all of it, or from some places on. `None` if not all
    /// of it was decoded.
    pub(crate) fn references(
        &self,
        function: &Function<'_>,
        from: Option<&[Vaddr]>,
    ) -> Option<References> {
        match from {
            None => References::of(&self.elf, function),
            Some(places) => References::from(&self.elf, function, places),
        }
    }

    /// `len` bytes at `vaddr` as they are in the file; `None` if the file does not have them all
    /// (bss). Pointers in a position independent file are not relocated.
    pub fn file_bytes(&self, vaddr: Vaddr, len: u64) -> Option<&[u8]> {
        self.elf.bytes(vaddr, len)
    }
}

/// Functions of every Go program.
const OBVIOUS: [&str; 4] = [
    "runtime.goexit",
    "runtime.gopark",
    "runtime.newproc",
    "runtime.mstart",
];

/// The pclntab, of several that may be it: the one that the linker's description of the program
/// points to.
fn find_table(
    elf: &Arc<Elf>,
    headers: Vec<pclntab::Header>,
    layout: &RuntimeLayout,
) -> Result<(ModuleData, Pclntab), BinaryError> {
    let mut found = None;
    let mut refused = None;
    for header in headers {
        let table = ModuleData::find(elf, &header, &layout.moduledata).and_then(|module| {
            let table = Pclntab::new(Arc::clone(elf), header, &module)?;
            Ok((module, table))
        });
        match table {
            Ok(_) if found.is_some() => {
                return Err(BinaryError::Unrecognised(
                    "which of several pclntabs counts",
                ));
            }
            Ok(table) => found = Some(table),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    found.ok_or_else(|| refused.unwrap_or(BinaryError::Unrecognised("the pclntab")))
}

/// The version that the runtime itself knows, of a program that was linked without build information.
/// Where the linker says what is data depends on the version only in theory: what is found is a Go
/// version, or it is nothing.
fn version_from_code(elf: &Arc<Elf>, header: &pclntab::Header) -> Option<GoVersion> {
    table::moduledata(elf.arch()).find_map(|layout| {
        let module = ModuleData::find(elf, header, &layout).ok()?;
        let table = Pclntab::new(Arc::clone(elf), header.clone(), &module).ok()?;
        variables::build_version_text(elf, &table, &module)
    })
}

/// The layouts of this binary's runtime: from its DWARF, else from the table. DWARF has only what the
/// program uses (no `sync.Cond`, no `notifyList`): what it lacks comes from the table as well.
fn find_layout(
    elf: &Elf,
    version: &GoVersion,
) -> Result<(RuntimeLayout, LayoutOrigin), BinaryError> {
    let error = |missing| BinaryError::Layout {
        missing,
        version: version.as_str().into(),
        arch: elf.arch(),
    };
    let sections = DwarfSections::read(elf);
    let dwarf = sections
        .as_ref()
        .and_then(|sections| DwarfLayouts::read(sections, &RuntimeLayout::structs()).ok());
    let incomplete = match &dwarf {
        Some(dwarf) => match RuntimeLayout::from_source(dwarf) {
            Ok(layout) => return Ok((layout, LayoutOrigin::Dwarf)),
            Err(missing) => Some(missing),
        },
        None => None,
    };
    let Some((table, origin)) = table::lookup(version, elf.arch()) else {
        let nothing = || MissingLayout("the runtime".to_owned());
        return Err(error(incomplete.unwrap_or_else(nothing)));
    };
    let (source, origin): (&dyn LayoutSource, _) = match &dwarf {
        Some(dwarf) => (
            &Completed { dwarf, table },
            match origin {
                LayoutOrigin::Table => LayoutOrigin::Dwarf,
                assumed => assumed,
            },
        ),
        None => (table, origin),
    };
    let layout = RuntimeLayout::from_source(source).map_err(error)?;
    Ok((layout, origin))
}

/// A binary's DWARF, and the table for structs that it lacks.
struct Completed<'a> {
    dwarf: &'a dyn LayoutSource,
    table: &'a dyn LayoutSource,
}

impl LayoutSource for Completed<'_> {
    fn size(&self, strukt: &str) -> Option<u32> {
        self.dwarf.size(strukt).or_else(|| self.table.size(strukt))
    }

    fn offset(&self, strukt: &str, field: &str) -> Option<u32> {
        match self.dwarf.size(strukt) {
            Some(_) => self.dwarf.offset(strukt, field),
            None => self.table.offset(strukt, field),
        }
    }
}

//! The code of modules beside the program itself: plugins (`-buildmode=plugin`). Each is a file of its
//! own, with a pclntab of its own, mapped into the process.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use procfs::process::{MMapPath, Process};
use tracer_model::symbol::Frame;

use super::Module;
use crate::binary::{Function, GoBinary, Pclntab, Vaddr};

/// Size that every mapping's address is a multiple of.
const PAGE: u64 = 4096;

/// The plugins of one process. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Plugins(Arc<[Plugin]>);

#[derive(Debug)]
struct Plugin {
    /// Where its Go code is in the process.
    text: Range<u64>,
    path: PathBuf,
    /// Its functions, and the load bias; `None` if its file cannot be read.
    table: Option<(Pclntab, u64)>,
}

impl Plugins {
    /// Reads the files of all modules but the first, which is the program.
    pub(super) fn of(pid: u32, binary: &GoBinary, modules: &[Module]) -> Plugins {
        let others = modules.get(1..).unwrap_or(&[]);
        if others.is_empty() {
            return Plugins::default();
        }
        let maps = Process::new(i32::try_from(pid).unwrap_or(i32::MAX))
            .and_then(|process| process.maps())
            .map(|maps| maps.0)
            .unwrap_or_default();
        let plugin = |module: &Module| {
            let text = module.text.start.0..module.text.end.0;
            let path = maps.iter().find_map(|map| match &map.pathname {
                MMapPath::Path(path) if (map.address.0..map.address.1).contains(&text.start) => {
                    Some(path.clone())
                }
                _ => None,
            });
            let path = path.unwrap_or_else(|| "a module that is not mapped from a file".into());
            Plugin {
                table: table(pid, binary, &path, text.start),
                text,
                path,
            }
        };
        Plugins(others.iter().map(plugin).collect())
    }

    fn at(&self, pc: u64) -> Option<&Plugin> {
        self.0.iter().find(|plugin| plugin.text.contains(&pc))
    }

    /// Whether `pc` is in a module whose functions are not known.
    pub(super) fn is_unread(&self, pc: u64) -> bool {
        self.at(pc).is_some_and(|plugin| plugin.table.is_none())
    }

    /// The function that `pc` lies in, and `pc` as its file numbers it.
    pub(super) fn function(&self, pc: u64) -> Option<(Function<'_>, Vaddr)> {
        let (table, bias) = self.at(pc)?.table.as_ref()?;
        let vaddr = Vaddr(pc.wrapping_sub(*bias));
        Some((table.function(vaddr)?, vaddr))
    }

    /// The frames at `pc`. In a module whose file cannot be read, its name and an offset.
    pub(super) fn frames(&self, pc: u64) -> Vec<Frame> {
        let Some(plugin) = self.at(pc) else {
            return Vec::new();
        };
        if let Some((table, bias)) = &plugin.table {
            return table.frames(Vaddr(pc.wrapping_sub(*bias)));
        }
        let name = plugin.path.file_name().unwrap_or(plugin.path.as_os_str());
        let offset = pc - plugin.text.start;
        vec![Frame {
            function: format!("{}+{offset:#x}", name.to_string_lossy()).into(),
            file: plugin.path.to_string_lossy().into(),
            line: 0,
            inlined: false,
        }]
    }
}

/// The functions of a plugin whose code begins at `text` in the process.
fn table(pid: u32, binary: &GoBinary, path: &Path, text: u64) -> Option<(Pclntab, u64)> {
    let inside = path.strip_prefix("/").ok()?;
    let file = PathBuf::from(format!("/proc/{pid}/root")).join(inside);
    let table = binary.open_plugin(&file).ok()?;
    let first = table.functions().next()?.entry;
    let bias = text.wrapping_sub(first.0);
    // Else it is another file by now.
    bias.is_multiple_of(PAGE).then_some((table, bias))
}

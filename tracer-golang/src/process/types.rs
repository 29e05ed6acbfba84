//! The runtime's type descriptors (`internal/abi.Type`, before Go 1.21 `runtime._type`), read from
//! the target. They survive stripping, since interfaces, maps and the garbage collector need them.
//!
//! Only descriptors in a module's type section are taken: a type that the program made by reflection
//! lies in the heap and its name elsewhere. Whatever does not look like a descriptor is refused, so
//! any word can be asked about.

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tracer_model::ids::Addr;

use super::memory::{MemoryError, TargetMemory};
use crate::layout::{MapLayout, TypeLayout};

/// Why a type could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// The address is in no module's type section.
    #[error("{0} is in no type section")]
    Outside(Addr),
    /// What is there cannot be a type descriptor.
    #[error("no type descriptor at {addr}: {what}")]
    Implausible {
        /// Where.
        addr: Addr,
        /// What is wrong.
        what: &'static str,
    },
    /// The memory could not be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// A type as its descriptor tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// The descriptor.
    pub addr: Addr,
    /// As Go spells it, e.g. `*main.Job`, `chan struct {}`, `[]uint8`.
    pub name: Arc<str>,
    /// Size of a value in bytes.
    pub size: u64,
    /// Whether an interface holds such a value itself instead of a pointer to it.
    pub direct_iface: bool,
    /// What a value consists of.
    pub shape: Shape,
}

/// What a value of a type consists of. Types are named by the addresses of their descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `bool`.
    Bool,
    /// A signed integer.
    Int,
    /// An unsigned integer, `uintptr` included.
    Uint,
    /// `float32` or `float64`.
    Float,
    /// `complex64` or `complex128`.
    Complex,
    /// A string.
    String,
    /// `unsafe.Pointer`.
    UnsafePointer,
    /// A function value.
    Func,
    /// A channel of the given type.
    Chan(Addr),
    /// A pointer to the given type.
    Pointer(Addr),
    /// A slice of the given type.
    Slice(Addr),
    /// An array.
    Array {
        /// Type of its elements.
        elem: Addr,
        /// How many.
        len: u64,
    },
    /// A struct.
    Struct(Box<[Field]>),
    /// An interface.
    Interface {
        /// Whether it has methods, so that its first word is an itab instead of a type.
        methods: bool,
    },
    /// A map.
    Map(MapShape),
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name; that of the type for an embedded field, `_` for a blank one.
    pub name: Arc<str>,
    /// Its type.
    pub typ: Addr,
    /// Where it begins in the struct, in bytes.
    pub offset: u64,
}

/// A map's types and how its entries lie in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapShape {
    /// Type of the keys.
    pub key: Addr,
    /// Type of the elements.
    pub elem: Addr,
    /// The entries, or nothing if the layout of maps is not known for this binary.
    pub entries: Option<EntryShape>,
}

/// Where a run of eight entries keeps what. A run is a bucket or a group: eight control bytes, then
/// the entries. All fields in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryShape {
    /// Size of a run.
    pub size: u64,
    /// The first key.
    pub keys: u64,
    /// From one key to the next.
    pub key_stride: u64,
    /// The first element.
    pub elems: u64,
    /// From one element to the next.
    pub elem_stride: u64,
    /// Whether the keys are behind pointers.
    pub indirect_key: bool,
    /// Whether the elements are behind pointers.
    pub indirect_elem: bool,
}

/// Entries in a bucket (`abi.MapBucketCount`) and in a group (`abi.MapGroupSlots`).
pub const RUN_ENTRIES: u64 = 8;

/// Longest type or field name taken, bytes. Anonymous structs spell out all their fields.
const MAX_NAME: u64 = 1 << 14;
/// Most fields of a struct taken.
const MAX_FIELDS: u64 = 1 << 14;
/// Largest value taken, bytes: the address space of a process.
const MAX_SIZE: u64 = 1 << 47;

/// `abi.TFlagExtraStar`: the name has a `*` in front that is not the type's.
const TFLAG_EXTRA_STAR: u8 = 1 << 1;
/// `abi.TFlagDirectIface` (Go 1.26 and later).
const TFLAG_DIRECT_IFACE: u8 = 1 << 5;
/// `abi.KindDirectIface`, a bit beside the kind (up to Go 1.25).
const KIND_DIRECT_IFACE: u8 = 1 << 5;
/// `abi.KindMask`.
const KIND_MASK: u8 = (1 << 5) - 1;

/// Reads type descriptors and keeps those that it has read: they never change.
#[derive(Debug)]
pub struct Types {
    layout: TypeLayout,
    /// `types..etypes` of each module.
    sections: Vec<Range<u64>>,
    known: FxHashMap<Addr, Arc<Type>>,
}

impl Types {
    /// Types of a target with these type sections (`types` to `etypes` of each module).
    pub fn new(layout: TypeLayout, sections: impl IntoIterator<Item = Range<Addr>>) -> Types {
        Types {
            layout,
            sections: sections.into_iter().map(|s| s.start.0..s.end.0).collect(),
            known: FxHashMap::default(),
        }
    }

    /// Layouts of the values that only the runtime lays out.
    pub fn layout(&self) -> &TypeLayout {
        &self.layout
    }

    /// Whether a plausible type descriptor is at `addr`.
    pub fn is_type<M: TargetMemory + ?Sized>(&mut self, memory: &M, addr: Addr) -> bool {
        self.get(memory, addr).is_ok()
    }

    /// The name of the type at `addr` as Go spells it.
    ///
    /// # Errors
    /// As [`Types::get`].
    pub fn name<M: TargetMemory + ?Sized>(
        &mut self,
        memory: &M,
        addr: Addr,
    ) -> Result<Arc<str>, TypeError> {
        Ok(Arc::clone(&self.get(memory, addr)?.name))
    }

    /// The type at `addr`.
    ///
    /// # Errors
    /// When no plausible type descriptor is there or it cannot be read.
    pub fn get<M: TargetMemory + ?Sized>(
        &mut self,
        memory: &M,
        addr: Addr,
    ) -> Result<Arc<Type>, TypeError> {
        if let Some(known) = self.known.get(&addr) {
            return Ok(Arc::clone(known));
        }
        let typ = Arc::new(self.read(memory, addr)?);
        self.known.insert(addr, Arc::clone(&typ));
        Ok(typ)
    }

    fn read<M: TargetMemory + ?Sized>(&self, memory: &M, addr: Addr) -> Result<Type, TypeError> {
        let section = self
            .sections
            .iter()
            .find(|section| section.contains(&addr.0))
            .ok_or(TypeError::Outside(addr))?;
        let fail = |what| TypeError::Implausible { addr, what };
        if !addr.0.is_multiple_of(8) {
            return Err(fail("it is not aligned"));
        }
        let descriptor = Descriptor { memory, addr };
        let head = self.layout.head;
        if section.end - addr.0 < u64::from(head.size) {
            return Err(fail("it crosses the section's end"));
        }
        let size = descriptor.word(head.bytes)?;
        let ptr_bytes = descriptor.word(head.ptr_bytes)?;
        let tflag = descriptor.byte(head.tflag)?;
        let align = descriptor.byte(head.align)?;
        let kind = descriptor.byte(head.kind)?;
        if size > MAX_SIZE || ptr_bytes > size {
            return Err(fail("its size is impossible"));
        }
        if !align.is_power_of_two() || align > 64 || !size.is_multiple_of(u64::from(align)) {
            return Err(fail("its alignment is impossible"));
        }
        let name_at = section
            .start
            .checked_add(u64::from(descriptor.half(head.name)?))
            .filter(|at| section.contains(at))
            .ok_or_else(|| fail("its name is in no type section"))?;
        let name = self.name_at(memory, Addr(name_at))?;
        let name = match tflag & TFLAG_EXTRA_STAR {
            0 => name,
            _ => name
                .strip_prefix('*')
                .ok_or_else(|| fail("its name lacks the star that it should have"))?
                .into(),
        };
        if name.is_empty() {
            return Err(fail("it has no name"));
        }
        let shape = self.shape(&descriptor, kind & KIND_MASK, size)?;
        let direct_iface = kind & KIND_DIRECT_IFACE != 0 || tflag & TFLAG_DIRECT_IFACE != 0;
        if direct_iface && size != 8 {
            return Err(fail("it is no pointer and said to be stored as one"));
        }
        Ok(Type {
            addr,
            name,
            size,
            direct_iface,
            shape,
        })
    }

    /// What the descriptor says beyond its head. The kinds are those of `abi.Kind`.
    fn shape<M: TargetMemory + ?Sized>(
        &self,
        descriptor: &Descriptor<'_, M>,
        kind: u8,
        size: u64,
    ) -> Result<Shape, TypeError> {
        let layout = &self.layout;
        let fail = |what| TypeError::Implausible {
            addr: descriptor.addr,
            what,
        };
        let (shape, sizes): (Shape, &[u64]) = match kind {
            1 => (Shape::Bool, &[1]),
            2 | 6 => (Shape::Int, &[8]),
            3 => (Shape::Int, &[1]),
            4 => (Shape::Int, &[2]),
            5 => (Shape::Int, &[4]),
            7 | 11 | 12 => (Shape::Uint, &[8]),
            8 => (Shape::Uint, &[1]),
            9 => (Shape::Uint, &[2]),
            10 => (Shape::Uint, &[4]),
            13 => (Shape::Float, &[4]),
            14 => (Shape::Float, &[8]),
            15 => (Shape::Complex, &[8]),
            16 => (Shape::Complex, &[16]),
            17 => {
                let elem = descriptor.typ(layout.array.elem)?;
                let len = descriptor.word(layout.array.len)?;
                (Shape::Array { elem, len }, &[])
            }
            18 => (Shape::Chan(descriptor.typ(layout.chan.elem)?), &[8]),
            19 => (Shape::Func, &[8]),
            20 => {
                let methods = descriptor.word(layout.interface.methods + 8)? != 0;
                (Shape::Interface { methods }, &[16])
            }
            21 => (Shape::Map(self.map_shape(descriptor)?), &[8]),
            22 => (Shape::Pointer(descriptor.typ(layout.pointer.elem)?), &[8]),
            23 => (Shape::Slice(descriptor.typ(layout.slice.elem)?), &[24]),
            24 => (Shape::String, &[16]),
            25 => (Shape::Struct(self.fields(descriptor, size)?), &[]),
            26 => (Shape::UnsafePointer, &[8]),
            _ => return Err(fail("its kind is unknown")),
        };
        if !sizes.is_empty() && !sizes.contains(&size) {
            return Err(fail("its size does not fit its kind"));
        }
        Ok(shape)
    }

    fn fields<M: TargetMemory + ?Sized>(
        &self,
        descriptor: &Descriptor<'_, M>,
        size: u64,
    ) -> Result<Box<[Field]>, TypeError> {
        let layout = self.layout.field;
        let fail = |what| TypeError::Implausible {
            addr: descriptor.addr,
            what,
        };
        let first = descriptor.word(self.layout.strukt.fields)?;
        let count = descriptor.word(self.layout.strukt.fields + 8)?;
        if count > MAX_FIELDS {
            return Err(fail("it has too many fields"));
        }
        let mut bytes = vec![0; count as usize * layout.size as usize];
        descriptor.memory.read(Addr(first), &mut bytes)?;
        bytes
            .chunks_exact(layout.size as usize)
            .map(|field| {
                let name = Addr(word(field, layout.name));
                let offset = word(field, layout.offset);
                if offset > size {
                    return Err(fail("a field lies outside"));
                }
                if !self.in_section(name) {
                    return Err(fail("a field's name is in no type section"));
                }
                Ok(Field {
                    name: self.name_at(descriptor.memory, name)?,
                    typ: Addr(word(field, layout.typ)),
                    offset,
                })
            })
            .collect()
    }

    fn map_shape<M: TargetMemory + ?Sized>(
        &self,
        descriptor: &Descriptor<'_, M>,
    ) -> Result<MapShape, TypeError> {
        let fail = |what| TypeError::Implausible {
            addr: descriptor.addr,
            what,
        };
        let Some(layout) = &self.layout.map else {
            // Keys and elements are where they always were: right behind the head.
            return Ok(MapShape {
                key: descriptor.typ(self.layout.head.size)?,
                elem: descriptor.typ(self.layout.head.size + 8)?,
                entries: None,
            });
        };
        let (key, elem, entries) = match layout {
            MapLayout::Buckets { typ, .. } => {
                let key_size = u64::from(descriptor.byte(typ.key_size)?);
                let elem_size = u64::from(descriptor.byte(typ.elem_size)?);
                let flags = descriptor.half(typ.flags)?;
                let entries = EntryShape {
                    size: u64::from(descriptor.quarter(typ.bucket_size)?),
                    keys: RUN_ENTRIES,
                    key_stride: key_size,
                    elems: RUN_ENTRIES + RUN_ENTRIES * key_size,
                    elem_stride: elem_size,
                    // abi.MapType.IndirectKey and IndirectElem
                    indirect_key: flags & 1 != 0,
                    indirect_elem: flags & 2 != 0,
                };
                (typ.key, typ.elem, entries)
            }
            MapLayout::Swiss { typ, .. } => {
                let flags = descriptor.half(typ.flags)?;
                let split = [typ.keys_off, typ.key_stride, typ.elems_off, typ.elem_stride];
                let (keys, key_stride, elems, elem_stride) = match (split, typ.slot_size) {
                    ([Some(keys), Some(key_stride), Some(elems), Some(elem_stride)], _) => (
                        descriptor.word(keys)?,
                        descriptor.word(key_stride)?,
                        descriptor.word(elems)?,
                        descriptor.word(elem_stride)?,
                    ),
                    (_, Some(slot_size)) => {
                        let slot = descriptor.word(slot_size)?;
                        let elem = descriptor.word(typ.elem_off)?;
                        let elems = RUN_ENTRIES
                            .checked_add(elem)
                            .ok_or_else(|| fail("its slots are impossible"))?;
                        (RUN_ENTRIES, slot, elems, slot)
                    }
                    _ => return Err(fail("the layout of its slots is not known")),
                };
                let entries = EntryShape {
                    size: descriptor.word(typ.group_size)?,
                    keys,
                    key_stride,
                    elems,
                    elem_stride,
                    // abi.MapIndirectKey and MapIndirectElem
                    indirect_key: flags & 4 != 0,
                    indirect_elem: flags & 8 != 0,
                };
                (typ.key, typ.elem, entries)
            }
        };
        let last = |first: u64, stride: u64| {
            stride
                .checked_mul(RUN_ENTRIES - 1)
                .and_then(|last| last.checked_add(first))
        };
        let fits = |end: Option<u64>| end.is_some_and(|end| end <= entries.size);
        if entries.size > 1 << 16
            || !fits(last(entries.keys, entries.key_stride))
            || !fits(last(entries.elems, entries.elem_stride))
        {
            return Err(fail("its entries do not fit their bucket or group"));
        }
        Ok(MapShape {
            key: descriptor.typ(key)?,
            elem: descriptor.typ(elem)?,
            entries: Some(entries),
        })
    }

    fn in_section(&self, addr: Addr) -> bool {
        self.sections
            .iter()
            .any(|section| section.contains(&addr.0))
    }

    /// An `abi.Name`: a byte of flags, the length as a varint, the text.
    fn name_at<M: TargetMemory + ?Sized>(
        &self,
        memory: &M,
        addr: Addr,
    ) -> Result<Arc<str>, TypeError> {
        let fail = |what| TypeError::Implausible { addr, what };
        let end = self
            .sections
            .iter()
            .find(|section| section.contains(&addr.0))
            .ok_or(TypeError::Outside(addr))?
            .end;
        // One read serves nearly all names.
        let mut bytes = [0; 64];
        let available = (end - addr.0).min(bytes.len() as u64) as usize;
        let bytes = &mut bytes[..available];
        memory.read(addr, bytes)?;
        let mut len = 0_u64;
        let mut at = 1;
        loop {
            let byte = *bytes.get(at).ok_or_else(|| fail("a name has no length"))?;
            if at > 3 {
                return Err(fail("a name is too long"));
            }
            len |= u64::from(byte & 0x7f) << (7 * (at - 1));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if len > MAX_NAME || at as u64 + len > end - addr.0 {
            return Err(fail("a name is too long"));
        }
        let text = match bytes.get(at..at + len as usize) {
            Some(text) => text.to_vec(),
            None => {
                let mut text = vec![0; len as usize];
                memory.read(Addr(addr.0 + at as u64), &mut text)?;
                text
            }
        };
        match String::from_utf8(text) {
            Ok(name) => Ok(name.into()),
            Err(_) => Err(fail("a name is not UTF-8")),
        }
    }
}

/// A descriptor's fields, read one by one: descriptors are read once and kept.
struct Descriptor<'a, M: ?Sized> {
    memory: &'a M,
    addr: Addr,
}

impl<M: TargetMemory + ?Sized> Descriptor<'_, M> {
    fn bytes<const N: usize>(&self, offset: u32) -> Result<[u8; N], MemoryError> {
        let mut bytes = [0; N];
        let at = self.addr.0.wrapping_add(u64::from(offset));
        self.memory.read(Addr(at), &mut bytes)?;
        Ok(bytes)
    }

    fn byte(&self, offset: u32) -> Result<u8, MemoryError> {
        Ok(self.bytes::<1>(offset)?[0])
    }

    fn quarter(&self, offset: u32) -> Result<u16, MemoryError> {
        Ok(u16::from_le_bytes(self.bytes(offset)?))
    }

    fn half(&self, offset: u32) -> Result<u32, MemoryError> {
        Ok(u32::from_le_bytes(self.bytes(offset)?))
    }

    fn word(&self, offset: u32) -> Result<u64, MemoryError> {
        Ok(u64::from_le_bytes(self.bytes(offset)?))
    }

    fn typ(&self, offset: u32) -> Result<Addr, MemoryError> {
        Ok(Addr(self.word(offset)?))
    }
}

/// The word at `offset`; 0 if the bytes end before.
pub(super) fn word(bytes: &[u8], offset: u32) -> u64 {
    let offset = offset as usize;
    bytes
        .get(offset..offset + 8)
        .and_then(|word| word.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

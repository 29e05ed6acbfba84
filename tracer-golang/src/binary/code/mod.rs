//! Machine code of one function, decoded from its first instruction on: what probe sites and the
//! search for variables in stripped binaries need to know about it, and no more.

mod amd64;
mod arm64;
mod references;

use tracer_common::FrameState;

use super::elf::Elf;
use super::{Arch, Function, Vaddr};

pub(crate) use references::References;

/// Where control goes after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// To the next instruction.
    Next,
    /// To one place, always.
    Jump(Vaddr),
    /// To one place, or to the next instruction.
    Branch(Vaddr),
    /// Into a function, and back to the next instruction.
    Call(Vaddr),
    /// Into a function that the instruction does not name, and back.
    IndirectCall,
    /// Elsewhere: a return, a computed jump, a trap.
    Leaves,
}

impl Flow {
    /// Where a jump within the function would go.
    fn target(self) -> Option<Vaddr> {
        match self {
            Flow::Jump(target) | Flow::Branch(target) => Some(target),
            _ => None,
        }
    }
}

/// A set of general registers, numbered as the instruction set numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Registers(u32);

impl Registers {
    const ALL: Registers = Registers(u32::MAX);
    const NONE: Registers = Registers(0);

    const fn one(number: u32) -> Registers {
        Registers(1 << (number & 31))
    }

    pub(super) const fn and(self, other: Registers) -> Registers {
        Registers(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Registers) -> Registers {
        Registers(self.0 & !other.0)
    }

    pub(super) const fn intersects(self, other: Registers) -> bool {
        self.0 & other.0 != 0
    }
}

/// How an instruction mentions an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mention {
    /// It reads or writes memory there.
    Access,
    /// It computes the address.
    Address,
}

/// What an instruction does to the function's frame, at a distance in bytes from the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// It keeps the whole of a general register there.
    Keeps(Registers, i64),
    /// It sets a general register to the eight bytes there.
    Takes(Registers, i64),
    /// It writes something else there, so many bytes.
    Spoils(i64, i64),
    /// It writes somewhere in the frame.
    SpoilsAny,
}

#[derive(Clone, Debug)]
pub(super) struct Instruction {
    pub(super) address: Vaddr,
    pub(super) flow: Flow,
    /// General registers that it writes; at least these, never fewer.
    pub(super) writes: Registers,
    /// The general register that it sets to the whole of another one, and that one.
    pub(super) copies: Option<(Registers, Registers)>,
    /// What it does to the frame by the stack pointer. What it writes by another register is not told:
    /// nobody has the address of where the compiler keeps a register.
    pub(super) frame: Option<Frame>,
    /// Whether it sets the register of g to the running goroutine, from where the thread keeps it.
    pub(super) sets_g: bool,
    /// Whether it returns from the function.
    pub(super) returns: bool,
    /// Whether a uprobe on it needs no single step: the kernel does its work by itself.
    pub(super) emulated: bool,
    /// The static address that it mentions.
    pub(super) mention: Option<(Vaddr, Mention)>,
    /// The constant that it compares a register with.
    pub(super) compared_with: Option<u64>,
}

/// A function's decoded instructions.
#[derive(Clone, Debug)]
pub(super) struct Code<'a> {
    arch: Arch,
    bytes: &'a [u8],
    entry: Vaddr,
    pub(super) instructions: Vec<Instruction>,
    /// How many instructions the stack check has; 0 if there is none.
    pub(super) stack_check: usize,
}

impl<'a> Code<'a> {
    /// Decodes a function.
    pub(super) fn of_function(elf: &'a Elf, function: &Function<'_>) -> Option<Code<'a>> {
        let bytes = elf.bytes(function.entry, function.size())?;
        Some(Code::decode(elf.arch(), bytes, function.entry))
    }

    /// Decodes a function's bytes; the instructions end before the first bytes that are none.
    pub(super) fn decode(arch: Arch, bytes: &'a [u8], entry: Vaddr) -> Code<'a> {
        let (instructions, stack_check) = match arch {
            Arch::Amd64 => (
                amd64::decode(bytes, entry),
                amd64::stack_check(bytes, entry),
            ),
            Arch::Arm64 => (
                arm64::decode(bytes, entry),
                arm64::stack_check(bytes, entry),
            ),
        };
        Code {
            arch,
            bytes,
            entry,
            instructions,
            stack_check,
        }
    }

    pub(super) fn arch(&self) -> Arch {
        self.arch
    }

    /// Whether the decoded instructions cover the whole function.
    pub(super) fn is_complete(&self) -> bool {
        let end = Vaddr(self.entry.0.wrapping_add(self.bytes.len() as u64));
        self.instructions
            .last()
            .is_some_and(|last| match self.arch {
                Arch::Amd64 => amd64::end_of(self.bytes, self.entry, last.address) == Some(end),
                Arch::Arm64 => last.address.0.wrapping_add(4) == end.0,
            })
    }

    /// The address behind the stack check: the entry if there is none.
    pub(super) fn stack_check_end(&self) -> Vaddr {
        self.instructions
            .get(self.stack_check)
            .map_or(self.entry, |instruction| instruction.address)
    }

    /// The instruction in assembler's notation.
    pub(super) fn text(&self, instruction: &Instruction) -> String {
        let offset = instruction.address.0.wrapping_sub(self.entry.0) as usize;
        let bytes = self.bytes.get(offset..).unwrap_or(&[]);
        match self.arch {
            Arch::Amd64 => amd64::text(bytes, instruction.address),
            Arch::Arm64 => arm64::text(bytes, instruction.address),
        }
    }

    /// What the frame pointer means when the instruction with this index is reached from the entry.
    pub(super) fn frame_state(&self, index: usize) -> FrameState {
        match self.arch {
            Arch::Amd64 => amd64::frame_state(self.bytes, self.entry, index),
            Arch::Arm64 => arm64::frame_state(self.bytes, index),
        }
    }

    /// An instruction that jumps back into `from..=to`, so that what is there runs more than once.
    pub(super) fn jump_into(&self, from: Vaddr, to: Vaddr) -> Option<&Instruction> {
        self.instructions.iter().find(|instruction| {
            instruction.address >= to
                && instruction
                    .flow
                    .target()
                    .is_some_and(|target| from <= target && target <= to)
        })
    }
}

/// The register that holds an argument (ABIInternal), from 0.
pub(super) fn argument(arch: Arch, index: usize) -> Option<Registers> {
    match arch {
        Arch::Amd64 => amd64::ARGUMENTS.get(index).copied(),
        Arch::Arm64 => (index < 16).then(|| Registers::one(index as u32)),
    }
}

/// The register that holds the current g.
pub(super) fn g_register(arch: Arch) -> Registers {
    match arch {
        Arch::Amd64 => Registers::one(14),
        Arch::Arm64 => Registers::one(28),
    }
}

/// The stack pointer.
pub(super) fn stack_pointer(arch: Arch) -> Registers {
    match arch {
        Arch::Amd64 => Registers::one(4),
        Arch::Arm64 => Registers::one(31),
    }
}

/// The name of the register in a set of one.
pub(super) fn register_name(arch: Arch, register: Registers) -> Option<&'static str> {
    let names: &[&str] = match arch {
        Arch::Amd64 => &amd64::NAMES,
        Arch::Arm64 => &arm64::NAMES,
    };
    names.get(register.0.trailing_zeros() as usize).copied()
}

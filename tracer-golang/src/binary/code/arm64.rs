//! arm64: a narrow decoder. Every instruction word falls into a class of the A64 encoding, and per
//! class it is known which general registers can be written. Where a class has members that do not
//! write a register, the decoder may say that they do; never the other way round.

use tracer_common::FrameState;

use super::{Flow, Frame, Instruction, Mention, Registers};
use crate::binary::Vaddr;

/// Number of the stack pointer in [`Registers`] (the zero register, which shares the encoding, is
/// never counted as written).
const SP: u32 = 31;
/// The link register.
const LR: u32 = 30;
/// The frame pointer.
const FP: u32 = 29;
/// g.
const G: u32 = 28;

/// What an instruction does, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Flow(Flow),
    /// rd = a constant address.
    Address {
        rd: u32,
        value: u64,
    },
    /// rd = page of a constant address.
    Page {
        rd: u32,
        value: u64,
    },
    /// rd = rn + value.
    Add {
        rd: u32,
        rn: u32,
        value: i64,
    },
    /// Compares rn with a constant.
    Compare {
        rn: u32,
        value: u64,
    },
    /// Compares rn with rm.
    CompareRegisters {
        rn: u32,
        rm: u32,
    },
    /// Load or store of rt at [rn + offset]; the base changes in `write_back` forms.
    Memory {
        load: bool,
        rt: u32,
        rn: u32,
        offset: i64,
        write_back: bool,
    },
    /// Load or store of rt and rt2 at [rn + offset].
    Pair {
        load: bool,
        rt: u32,
        rt2: u32,
        rn: u32,
        offset: i64,
        write_back: bool,
    },
    /// Load from a constant address.
    LoadLiteral {
        address: u64,
    },
    Nop,
    Other,
}

struct Word {
    operation: Operation,
    writes: Registers,
}

/// General registers, by number.
pub(super) const NAMES: [&str; 32] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
    "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27",
    "x28", "x29", "x30", "sp",
];

/// Bits `low..low+count` of a word.
const fn bits(word: u32, low: u32, count: u32) -> u32 {
    (word >> low) & ((1 << count) - 1)
}

/// The same as a signed number.
const fn signed(word: u32, low: u32, count: u32) -> i64 {
    let shift = 32 - count;
    (((bits(word, low, count) << shift) as i32) >> shift) as i64
}

/// A written register whose number 31 means the zero register.
fn unless_zero(number: u32) -> Registers {
    match number {
        31 => Registers::NONE,
        number => Registers::one(number),
    }
}

fn decode_word(word: u32, address: u64) -> Word {
    let (operation, writes) = match bits(word, 25, 4) {
        0b1000 | 0b1001 => immediate(word, address),
        0b1010 | 0b1011 => branch_or_system(word, address),
        0b0100 | 0b0110 | 0b1100 | 0b1110 => load_or_store(word, address),
        0b0101 | 0b1101 => register(word),
        // Floating point and vectors: moves and conversions to general registers exist.
        0b0111 | 0b1111 => (Operation::Other, unless_zero(bits(word, 0, 5))),
        // Reserved, scalable vectors.
        _ => (Operation::Other, Registers::ALL),
    };
    Word { operation, writes }
}

/// Data processing with an immediate.
fn immediate(word: u32, address: u64) -> (Operation, Registers) {
    let (rd, rn) = (bits(word, 0, 5), bits(word, 5, 5));
    let sets_flags = bits(word, 29, 1) == 1;
    match bits(word, 23, 3) {
        // adr, adrp
        0b000 | 0b001 => {
            let offset = (signed(word, 5, 19) << 2) | i64::from(bits(word, 29, 2));
            let operation = if bits(word, 31, 1) == 1 {
                let page = (address & !0xfff).wrapping_add_signed(offset << 12);
                Operation::Page { rd, value: page }
            } else {
                Operation::Address {
                    rd,
                    value: address.wrapping_add_signed(offset),
                }
            };
            (operation, unless_zero(rd))
        }
        // add, sub, adds, subs
        0b010 => {
            let value = i64::from(bits(word, 10, 12)) << (12 * bits(word, 22, 1));
            let subtracts = bits(word, 30, 1) == 1;
            if sets_flags && rd == 31 {
                return match subtracts {
                    true => (
                        Operation::Compare {
                            rn,
                            value: value as u64,
                        },
                        Registers::NONE,
                    ),
                    false => (Operation::Other, Registers::NONE),
                };
            }
            let value = if subtracts { -value } else { value };
            (Operation::Add { rd, rn, value }, Registers::one(rd))
        }
        // and, orr, eor, ands: only ands has a zero register
        0b100 => match bits(word, 29, 2) {
            3 => (Operation::Other, unless_zero(rd)),
            _ => (Operation::Other, Registers::one(rd)),
        },
        // add and sub with tags, move wide, bit fields, extract
        _ => (
            Operation::Other,
            unless_zero(rd).and(match bits(word, 23, 3) {
                0b011 => Registers::one(rd),
                _ => Registers::NONE,
            }),
        ),
    }
}

fn branch_or_system(word: u32, address: u64) -> (Operation, Registers) {
    let target = |offset: i64| Vaddr(address.wrapping_add_signed(offset << 2));
    let flow = |flow| (Operation::Flow(flow), Registers::NONE);
    if word & 0x7c00_0000 == 0x1400_0000 {
        let target = target(signed(word, 0, 26));
        return match bits(word, 31, 1) {
            0 => flow(Flow::Jump(target)),
            _ => (Operation::Flow(Flow::Call(target)), Registers::one(LR)),
        };
    }
    // b.cond; cbz, cbnz
    if word & 0xff00_0000 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 {
        return flow(Flow::Branch(target(signed(word, 5, 19))));
    }
    // tbz, tbnz
    if word & 0x7e00_0000 == 0x3600_0000 {
        return flow(Flow::Branch(target(signed(word, 5, 14))));
    }
    // br, blr, ret and their authenticating forms
    if word & 0xfe00_0000 == 0xd600_0000 {
        return match bits(word, 21, 2) {
            1 => (Operation::Flow(Flow::IndirectCall), Registers::one(LR)),
            _ => flow(Flow::Leaves),
        };
    }
    if word == 0xd503_201f {
        return (Operation::Nop, Registers::NONE);
    }
    match word >> 20 {
        // mrs, sysl
        0xd53 | 0xd52 => (Operation::Other, unless_zero(bits(word, 0, 5))),
        // Hints (pointer authentication among them changes the link register), barriers, msr
        0xd50 if word >> 12 == 0xd5032 => (
            Operation::Other,
            Registers::one(LR)
                .and(Registers::one(17))
                .and(Registers::one(16)),
        ),
        0xd50 | 0xd51 => (Operation::Other, Registers::NONE),
        // svc: the kernel's result
        0xd40 if bits(word, 0, 5) == 1 => (Operation::Flow(Flow::IndirectCall), Registers::ALL),
        // brk, udf, hlt
        0xd40..=0xd4f => flow(Flow::Leaves),
        _ => (Operation::Other, Registers::ALL),
    }
}

fn load_or_store(word: u32, address: u64) -> (Operation, Registers) {
    let (rt, rn) = (bits(word, 0, 5), bits(word, 5, 5));
    let vector = bits(word, 26, 1) == 1;
    let size = bits(word, 30, 2);
    match bits(word, 28, 2) {
        // Literal; other members of this group are tag and memory copy instructions.
        0b01 if bits(word, 24, 2) == 0 => {
            let literal = address.wrapping_add_signed(signed(word, 5, 19) << 2);
            let written = match vector || size == 3 {
                true => Registers::NONE,
                false => unless_zero(rt),
            };
            (Operation::LoadLiteral { address: literal }, written)
        }
        0b01 => (Operation::Other, Registers::ALL),
        0b10 => {
            let load = bits(word, 22, 1) == 1;
            let rt2 = bits(word, 10, 5);
            let scale = if vector { 2 + size } else { 2 + (size >> 1) };
            let mode = bits(word, 23, 2);
            let write_back = mode == 0b01 || mode == 0b11;
            // A post-indexed access is at the base itself.
            let offset = if mode == 0b01 {
                0
            } else {
                signed(word, 15, 7) << scale
            };
            let mut written = Registers::NONE;
            if load && !vector {
                written = unless_zero(rt).and(unless_zero(rt2));
            }
            if write_back {
                written = written.and(Registers::one(rn));
            }
            let (rt, rt2) = if vector {
                (u32::MAX, u32::MAX)
            } else {
                (rt, rt2)
            };
            (
                Operation::Pair {
                    load,
                    rt,
                    rt2,
                    rn,
                    offset,
                    write_back,
                },
                written,
            )
        }
        0b11 => single(word, rt, rn, vector, size),
        // Exclusive, ordered and compare-and-swap; vectors of several registers.
        _ => {
            let rs = unless_zero(bits(word, 16, 5));
            let pair = unless_zero(bits(word, 10, 5)).and(unless_zero(rt | 1));
            let written = unless_zero(rt).and(rs).and(pair).and(match vector {
                true => Registers::one(rn),
                false => unless_zero(bits(word, 16, 5) | 1),
            });
            // At the base itself.
            let memory = Operation::Memory {
                load: false,
                rt: u32::MAX,
                rn,
                offset: 0,
                write_back: false,
            };
            (if vector { Operation::Other } else { memory }, written)
        }
    }
}

/// Load or store of one register.
fn single(word: u32, rt: u32, rn: u32, vector: bool, size: u32) -> (Operation, Registers) {
    let opc = bits(word, 22, 2);
    let scale = if vector {
        size | ((opc >> 1) << 2)
    } else {
        size
    };
    let load = if vector { opc & 1 == 1 } else { opc != 0 };
    let loaded = match load && !vector {
        // For prefetches rt is no register; it does no harm to count it.
        true => unless_zero(rt),
        false => Registers::NONE,
    };
    let rt = if vector { u32::MAX } else { rt };
    if bits(word, 24, 1) == 1 {
        let offset = i64::from(bits(word, 10, 12)) << scale;
        return (
            Operation::Memory {
                load,
                rt,
                rn,
                offset,
                write_back: false,
            },
            loaded,
        );
    }
    if bits(word, 21, 1) == 1 {
        // Register offset; or an atomic operation, which loads the old value.
        let written = match bits(word, 10, 2) {
            0b10 => loaded,
            0b00 => unless_zero(bits(word, 0, 5)),
            _ => unless_zero(bits(word, 0, 5)).and(Registers::one(rn)),
        };
        let operation = match bits(word, 10, 2) {
            0b00 => Operation::Memory {
                load: true,
                rt,
                rn,
                offset: 0,
                write_back: false,
            },
            _ => Operation::Other,
        };
        return (operation, written);
    }
    let offset = signed(word, 12, 9);
    let (offset, write_back) = match bits(word, 10, 2) {
        0b01 => (0, true),
        0b11 => (offset, true),
        _ => (offset, false),
    };
    let base = if write_back {
        Registers::one(rn)
    } else {
        Registers::NONE
    };
    (
        Operation::Memory {
            load,
            rt,
            rn,
            offset,
            write_back,
        },
        loaded.and(base),
    )
}

/// Data processing on registers.
fn register(word: u32) -> (Operation, Registers) {
    let (rd, rn, rm) = (bits(word, 0, 5), bits(word, 5, 5), bits(word, 16, 5));
    // Conditional compare: no destination.
    if word & 0x3fe0_0000 == 0x3a40_0000 {
        return (Operation::Other, Registers::NONE);
    }
    // add, sub with an extended register: without flags, 31 is the stack pointer.
    if word & 0x1fe0_0000 == 0x0b20_0000 && bits(word, 29, 1) == 0 {
        return (Operation::Other, Registers::one(rd));
    }
    // subs to the zero register
    if word & 0x7f00_0000 == 0x6b00_0000 && rd == 31 {
        // Only with an extended register is 31 the stack pointer.
        if rn == SP && bits(word, 21, 1) == 0 {
            return (Operation::Other, Registers::NONE);
        }
        return (Operation::CompareRegisters { rn, rm }, Registers::NONE);
    }
    (Operation::Other, unless_zero(rd))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

/// Decodes all words, and follows addresses that are built of two instructions (adrp, then add or
/// an access relative to it).
pub(super) fn decode(bytes: &[u8], entry: Vaddr) -> Vec<Instruction> {
    let mut known: [Option<u64>; 32] = [None; 32];
    let mut at = entry.0;
    words(bytes)
        .map(|word| {
            let Word { operation, writes } = decode_word(word, at);
            let value = |register: u32, offset: i64| {
                let base = known.get(register as usize).copied().flatten()?;
                Some(base.wrapping_add_signed(offset))
            };
            let mut result = None;
            let mention = match operation {
                Operation::Page { rd, value } => {
                    result = Some((rd, value));
                    None
                }
                Operation::Address { rd, value } => {
                    result = Some((rd, value));
                    Some((value, Mention::Address))
                }
                Operation::Add {
                    rd,
                    rn,
                    value: offset,
                } => {
                    result = value(rn, offset).map(|value| (rd, value));
                    result.map(|(_, value)| (value, Mention::Address))
                }
                Operation::Memory { rn, offset, .. } | Operation::Pair { rn, offset, .. } => {
                    value(rn, offset).map(|value| (value, Mention::Access))
                }
                Operation::LoadLiteral { address } => Some((address, Mention::Access)),
                _ => None,
            };
            let flow = match operation {
                Operation::Flow(flow) => flow,
                _ => Flow::Next,
            };
            for (number, known) in known.iter_mut().enumerate() {
                if writes.intersects(Registers::one(number as u32)) {
                    *known = None;
                }
            }
            // Behind a call registers are lost, and what follows a jump is reached from elsewhere.
            if !matches!(flow, Flow::Next | Flow::Branch(_)) {
                known = [None; 32];
            }
            if let Some((rd, value)) = result
                && rd != SP
            {
                known[rd as usize] = Some(value);
            }
            let instruction = Instruction {
                address: Vaddr(at),
                flow,
                writes,
                copies: copies(word),
                frame: frame(word),
                sets_g: false,
                returns: word & 0xffff_fc1f == 0xd65f_0000,
                emulated: is_emulated(word, operation),
                mention: mention.map(|(address, kind)| (Vaddr(address), kind)),
                compared_with: match operation {
                    Operation::Compare { value, .. } => Some(value),
                    _ => None,
                },
            };
            at = at.wrapping_add(4);
            instruction
        })
        .collect()
}

/// `mov xd, xm`, which is `orr xd, xzr, xm`.
fn copies(word: u32) -> Option<(Registers, Registers)> {
    let (rd, rm) = (bits(word, 0, 5), bits(word, 16, 5));
    (word & 0xffe0_ffe0 == 0xaa00_03e0 && rd != 31 && rm != 31)
        .then(|| (Registers::one(rd), Registers::one(rm)))
}

/// What it does to memory by the stack pointer.
fn frame(word: u32) -> Option<Frame> {
    // Loads and stores: bit 27 set, bit 25 clear; the base is in bits 5 to 9.
    if word & 0x0a00_0000 != 0x0800_0000 || bits(word, 5, 5) != SP {
        return None;
    }
    // Unsigned offset, in units of the size.
    if word & 0x3b00_0000 == 0x3900_0000 {
        let size = 1_i64 << bits(word, 30, 2);
        let at = i64::from(bits(word, 10, 12)) * size;
        let register = bits(word, 0, 5);
        return match (word & 0xffc0_0000, word & 0x04c0_0000) {
            (0xf900_0000, _) if register != 31 => Some(Frame::Keeps(Registers::one(register), at)),
            (0xf940_0000, _) if register != 31 => Some(Frame::Takes(Registers::one(register), at)),
            // A store of a general register.
            (_, 0) => Some(Frame::Spoils(at, size)),
            // A vector register: up to 16 bytes, its size says another field.
            (_, vector) if vector & 0x0400_0000 != 0 => Some(Frame::SpoilsAny),
            // A load.
            _ => None,
        };
    }
    Some(Frame::SpoilsAny)
}

/// Which instructions the kernel's uprobes simulate (arch/arm64/kernel/probes/decode-insn.c): direct
/// branches, adr, adrp and literal loads; nop since Linux 6.14, single-stepped before.
fn is_emulated(word: u32, operation: Operation) -> bool {
    match operation {
        Operation::Nop | Operation::Address { .. } | Operation::Page { .. } => true,
        Operation::Flow(Flow::Jump(_) | Flow::Call(_)) => true,
        // Bit 4 of a conditional branch makes it a hinted one, which is newer.
        Operation::Flow(Flow::Branch(_)) => word & 0xff00_0010 != 0x5400_0010,
        // ldr and ldrsw of general registers
        Operation::LoadLiteral { .. } => word & 0x0400_0000 == 0 && bits(word, 30, 2) != 3,
        _ => false,
    }
}

/// How many instructions the check for stack space has (cmd/internal/obj/arm64, stacksplit):
///
/// ```text
/// ldr x16, [x28, #16]                          cmp sp, x16     b.ls more
/// ldr x16, [x28, #16]   sub x17, sp, #N        cmp x17, x16    b.ls more
/// ldr x16, [x28, #16]   mov x27, #N   subs x17, sp, x27   b.lo more   cmp x17, x16   b.ls more
/// ```
///
/// (24 instead of 16 in functions that run on the system stack.)
pub(super) fn stack_check(bytes: &[u8], entry: Vaddr) -> usize {
    const LOWER_OR_SAME: u32 = 9;
    const LOWER: u32 = 3;
    let decoded: Vec<(u32, Operation)> = words(bytes)
        .take(8)
        .enumerate()
        .map(|(index, word)| {
            let address = entry.0.wrapping_add(4 * index as u64);
            (word, decode_word(word, address).operation)
        })
        .collect();
    let end = entry.0.wrapping_add(bytes.len() as u64);
    let branches = |index: usize, condition| {
        let Some(&(word, Operation::Flow(Flow::Branch(target)))) = decoded.get(index) else {
            return false;
        };
        word & 0xff00_001f == 0x5400_0000 | condition
            && target.0 > entry.0.wrapping_add(4 * index as u64)
            && target.0 < end
    };
    let compares = |index: usize, register| {
        matches!(decoded.get(index), Some(&(word, Operation::CompareRegisters { rn, rm: 16 }))
            if rn == register && bits(word, 31, 1) == 1)
    };
    let loads_bound = matches!(
        decoded.first(),
        Some((
            _,
            Operation::Memory {
                load: true,
                rt: 16,
                rn: G,
                offset: 16 | 24,
                write_back: false
            }
        ))
    );
    if !loads_bound {
        return 0;
    }
    if compares(1, SP) && branches(2, LOWER_OR_SAME) {
        return 3;
    }
    let lowers = matches!(
        decoded.get(1),
        Some((
            _,
            Operation::Add {
                rd: 17,
                rn: SP,
                value: ..0
            }
        ))
    );
    if lowers && compares(2, 17) && branches(3, LOWER_OR_SAME) {
        return 4;
    }
    // Huge frames: a constant in x27 (one or two instructions), or a sub in two steps.
    (2..=4)
        .find(|&index| {
            branches(index + 1, LOWER)
                && compares(index + 2, 17)
                && branches(index + 3, LOWER_OR_SAME)
        })
        .map_or(0, |index| index + 4)
}

/// Follows the prologue:
///
/// ```text
/// str x30, [sp, #-N]!   stur x29, [sp, #-8]                            sub x29, sp, #8
/// sub x20, sp, #N       stp x29, x30, [x20, #-8]   mov sp, x20         sub x29, sp, #8
/// ```
pub(super) fn frame_state(bytes: &[u8], index: usize) -> FrameState {
    let (mut saved_lr, mut saved_fp, mut built) = (false, false, false);
    for word in words(bytes).take(index) {
        let Word { operation, writes } = decode_word(word, 0);
        match operation {
            Operation::Memory {
                load: false,
                rt: LR,
                rn: SP,
                write_back: true,
                ..
            } => {
                saved_lr = true;
            }
            Operation::Memory {
                load: false,
                rt: FP,
                rn: SP,
                offset: -8,
                write_back: false,
            } => {
                saved_fp = saved_lr;
            }
            Operation::Pair {
                load: false,
                rt: FP,
                rt2: LR,
                rn: 20,
                offset: -8,
                write_back: false,
            } => {
                (saved_lr, saved_fp) = (true, true);
            }
            // mov sp, x20
            Operation::Add {
                rd: SP,
                rn: 20,
                value: 0,
            } => {}
            Operation::Add {
                rd: FP,
                rn: SP,
                value: -8,
            } if saved_lr && saved_fp => built = true,
            Operation::Flow(Flow::Call(_) | Flow::IndirectCall) => {}
            _ if writes.intersects(Registers::one(FP).and(Registers::one(SP))) => {
                return FrameState::Unknown;
            }
            _ => {}
        }
    }
    match built {
        true => FrameState::Built,
        false => FrameState::Unknown,
    }
}

/// The instruction in assembler's notation, as far as it is decoded.
pub(super) fn text(bytes: &[u8], address: Vaddr) -> String {
    let Some(word) = words(bytes).next() else {
        return "no instruction".to_owned();
    };
    const CONDITIONS: [&str; 16] = [
        "eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al",
        "nv",
    ];
    let register = |wide: bool, number: u32| match (wide, number) {
        (true, 31) => "xzr".to_owned(),
        (false, 31) => "wzr".to_owned(),
        (true, number) => format!("x{number}"),
        (false, number) => format!("w{number}"),
    };
    match decode_word(word, address.0).operation {
        Operation::Nop => "nop".to_owned(),
        Operation::Page { rd, value } => format!("adrp x{rd}, #{value:#x}"),
        Operation::Address { rd, value } => format!("adr x{rd}, #{value:#x}"),
        Operation::Flow(Flow::Jump(target)) => format!("b #{target}"),
        Operation::Flow(Flow::Call(target)) => format!("bl #{target}"),
        Operation::Flow(Flow::Branch(target)) => match word >> 24 {
            0x54 => format!("b.{} #{target}", CONDITIONS[bits(word, 0, 4) as usize]),
            kind => {
                let wide = bits(word, 31, 1) == 1;
                let rt = register(wide, bits(word, 0, 5));
                let negated = if kind & 1 == 1 { "n" } else { "" };
                if kind & 0x7e == 0x34 {
                    format!("cb{negated}z {rt}, #{target}")
                } else {
                    let bit = (bits(word, 31, 1) << 5) | bits(word, 19, 5);
                    format!("tb{negated}z {rt}, #{bit:#x}, #{target}")
                }
            }
        },
        _ => format!(".inst {word:#010x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(word: u32) -> Registers {
        decode_word(word, 0).writes
    }

    #[test]
    fn knows_what_is_written() {
        let x = Registers::one;
        // As clang assembles them.
        let cases = [
            (0xf940_0b90, x(16), "ldr x16, [x28, #16]"),
            (0xd100_43f1, x(17), "sub x17, sp, #16"),
            (0xeb30_63ff, Registers::NONE, "cmp sp, x16"),
            (0xf81f_0ffe, x(SP), "str x30, [sp, #-16]!"),
            (0xf81f_83fd, Registers::NONE, "stur x29, [sp, #-8]"),
            (0xd100_23fd, x(FP), "sub x29, sp, #8"),
            (0xa9bf_7bfd, x(SP), "stp x29, x30, [sp, #-16]!"),
            (
                0xa8c1_7bfd,
                x(FP).and(x(LR)).and(x(SP)),
                "ldp x29, x30, [sp], #16",
            ),
            (0xaa01_03e0, x(0), "mov x0, x1"),
            (0xd280_0001, x(1), "mov x1, #0"),
            (0x3880_001b, x(27), "ldrsb x27, [x0]"),
            (0x8b03_0082, x(2), "add x2, x4, x3"),
            (0xf140_405f, Registers::NONE, "cmp x2, #16, lsl #12"),
            (0x9400_0001, x(LR), "bl #4"),
            (0xd53b_d040, x(0), "mrs x0, tpidr_el0"),
            (0xc85f_7c41, x(1), "ldxr x1, [x2]"),
            (0xc800_7c41, x(0), "stxr w0, x1, [x2] (more than it writes)"),
        ];
        for (word, expected, text) in cases {
            let found = writes(word);
            assert_eq!(found.0 & expected.0, expected.0, "{text}: {found:?}");
            if !text.contains("more than") {
                assert_eq!(found, expected, "{text}");
            }
        }
        assert_eq!(
            writes(0x0420_0000),
            Registers::ALL,
            "a scalable vector instruction"
        );
    }

    fn bytes(words: &[u32]) -> Vec<u8> {
        let mut words = words.to_vec();
        // Branches stay within the function.
        words.resize(64, 0xd503_201f);
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn knows_the_stack_check_by_frame_size() {
        let check = |words: &[u32]| stack_check(&bytes(words), Vaddr(0x1000));
        // ldr x16, [x28, #16]; cmp sp, x16; b.ls
        assert_eq!(check(&[0xf940_0b90, 0xeb30_63ff, 0x5400_0309]), 3);
        // On the system stack: ldr x16, [x28, #24].
        assert_eq!(check(&[0xf940_0f90, 0xeb30_63ff, 0x5400_0309]), 3);
        // ldr; sub x17, sp, #16; cmp x17, x16; b.ls
        assert_eq!(
            check(&[0xf940_0b90, 0xd100_43f1, 0xeb10_023f, 0x5400_0309]),
            4
        );
        // As Go 1.27 compiles huge frames: mov x27 (and movk); subs x17, sp, x27; b.lo; cmp; b.ls.
        assert_eq!(
            check(&[
                0xf940_0b90,
                0xd282_261b,
                0xeb3b_63f1,
                0x5400_0323,
                0xeb10_023f,
                0x5400_02e9,
            ]),
            6
        );
        assert_eq!(
            check(&[
                0xf940_0b90,
                0xd290_c81b,
                0xf2a0_003b,
                0xeb3b_63f1,
                0x5400_0343,
                0xeb10_023f,
                0x5400_0309,
            ]),
            7
        );
        // Another register than g, another condition, backwards.
        assert_eq!(check(&[0xf940_0b70, 0xeb30_63ff, 0x5400_0309]), 0);
        assert_eq!(check(&[0xf940_0b90, 0xeb30_63ff, 0x5400_0308]), 0);
        assert_eq!(check(&[0xf940_0b90, 0xeb30_63ff, 0x54ff_fff9]), 0);
    }

    #[test]
    fn follows_the_frame_pointer() {
        // str x30, [sp, #-16]!; stur x29, [sp, #-8]; sub x29, sp, #8
        let small = bytes(&[0xf81f_0ffe, 0xf81f_83fd, 0xd100_23fd]);
        assert_eq!(frame_state(&small, 2), FrameState::Unknown);
        assert_eq!(frame_state(&small, 3), FrameState::Built);
        // sub x20, sp, #0x130; stp x29, x30, [x20, #-8]; mov sp, x20; sub x29, sp, #8
        let big = bytes(&[0xd104_c3f4, 0xa93f_fa9d, 0x9100_029f, 0xd100_23fd]);
        assert_eq!(frame_state(&big, 4), FrameState::Built);
        // Nothing saved.
        assert_eq!(frame_state(&bytes(&[0xd100_23fd]), 1), FrameState::Unknown);
    }

    #[test]
    fn writes_assembler() {
        let cases = [
            (0x5400_0068, "b.hi #0x100c"),
            (0xb400_0060, "cbz x0, #0x100c"),
            (0x3500_0061, "cbnz w1, #0x100c"),
            (0x3660_0061, "tbz w1, #0xc, #0x100c"),
            (0x97ff_ffff, "bl #0xffc"),
            (0xb000_001b, "adrp x27, #0x2000"),
            (0xd503_201f, "nop"),
            (0xf940_0b90, ".inst 0xf9400b90"),
        ];
        for (word, expected) in cases {
            assert_eq!(text(&u32::to_le_bytes(word), Vaddr(0x1000)), expected);
        }
    }

    #[test]
    fn follows_addresses_in_two_steps() {
        // adrp x0, 1 page; add x0, x0, #8; ldr x1, [x0, #16]; bl; ldr x2, [x0]
        let code: Vec<u8> = [
            0xb000_0000_u32,
            0x9100_2000,
            0xf940_0801,
            0x9400_0000,
            0xf940_0002,
        ]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
        let mentions: Vec<_> = decode(&code, Vaddr(0x1000))
            .into_iter()
            .map(|instruction| instruction.mention)
            .collect();
        assert_eq!(
            mentions,
            [
                None,
                Some((Vaddr(0x2008), Mention::Address)),
                Some((Vaddr(0x2018), Mention::Access)),
                None,
                None,
            ]
        );
    }
}

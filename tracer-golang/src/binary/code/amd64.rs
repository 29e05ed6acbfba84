//! amd64, by iced-x86.

use iced_x86::{
    Code as Opcode, Decoder, DecoderOptions, FlowControl, Formatter, Instruction as Decoded,
    InstructionInfoFactory, Mnemonic, NasmFormatter, OpAccess, OpKind, Register,
};
use tracer_common::FrameState;

use super::{Flow, Frame, Instruction, Mention, Registers};
use crate::binary::Vaddr;

/// RAX RBX RCX RDI RSI R8 R9 R10 R11.
pub(super) const ARGUMENTS: [Registers; 9] = [
    Registers::one(0),
    Registers::one(3),
    Registers::one(1),
    Registers::one(7),
    Registers::one(6),
    Registers::one(8),
    Registers::one(9),
    Registers::one(10),
    Registers::one(11),
];

/// General registers, by number.
pub(super) const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

fn decoder(bytes: &[u8], entry: Vaddr) -> Decoder<'_> {
    Decoder::with_ip(64, bytes, entry.0, DecoderOptions::NONE)
}

/// Valid instructions from the entry on.
fn valid(bytes: &[u8], entry: Vaddr) -> impl Iterator<Item = Decoded> {
    let mut decoder = decoder(bytes, entry);
    std::iter::from_fn(move || {
        if !decoder.can_decode() {
            return None;
        }
        let decoded = decoder.decode();
        (!decoded.is_invalid()).then_some(decoded)
    })
}

pub(super) fn decode(bytes: &[u8], entry: Vaddr) -> Vec<Instruction> {
    let mut info = InstructionInfoFactory::new();
    valid(bytes, entry)
        .map(|decoded| {
            let offset = decoded.ip().wrapping_sub(entry.0) as usize;
            let raw = bytes.get(offset..offset + decoded.len()).unwrap_or(&[]);
            Instruction {
                address: Vaddr(decoded.ip()),
                flow: flow(&decoded),
                writes: writes(&mut info, &decoded),
                copies: copies(&decoded),
                frame: frame(&mut info, &decoded),
                sets_g: sets_g(&decoded),
                returns: decoded.flow_control() == FlowControl::Return,
                emulated: is_emulated(raw),
                mention: mention(&decoded),
                compared_with: compared_with(&decoded),
            }
        })
        .collect()
}

/// The address behind the instruction at `last`.
pub(super) fn end_of(bytes: &[u8], entry: Vaddr, last: Vaddr) -> Option<Vaddr> {
    let offset = usize::try_from(last.0.checked_sub(entry.0)?).ok()?;
    let last = valid(bytes.get(offset..)?, last).next()?;
    Some(Vaddr(last.next_ip()))
}

pub(super) fn text(bytes: &[u8], address: Vaddr) -> String {
    let mut text = String::new();
    NasmFormatter::new().format(&decoder(bytes, address).decode(), &mut text);
    text
}

fn flow(decoded: &Decoded) -> Flow {
    let target = || Vaddr(decoded.near_branch_target());
    let near = matches!(
        decoded.op0_kind(),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
    );
    match decoded.flow_control() {
        FlowControl::Next => Flow::Next,
        FlowControl::UnconditionalBranch if near => Flow::Jump(target()),
        FlowControl::ConditionalBranch if near => Flow::Branch(target()),
        FlowControl::Call if near => Flow::Call(target()),
        // System calls come back as well.
        FlowControl::Call | FlowControl::IndirectCall => Flow::IndirectCall,
        _ => Flow::Leaves,
    }
}

fn writes(info: &mut InstructionInfoFactory, decoded: &Decoded) -> Registers {
    info.info(decoded)
        .used_registers()
        .iter()
        .filter(|used| {
            matches!(
                used.access(),
                OpAccess::Write
                    | OpAccess::CondWrite
                    | OpAccess::ReadWrite
                    | OpAccess::ReadCondWrite
            )
        })
        .filter(|used| used.register().is_gpr())
        .map(|used| Registers::one(used.register().full_register().number() as u32))
        .fold(Registers::NONE, Registers::and)
}

/// `mov r14, fs:[…]`: the compiler puts nothing else of the thread's own memory there.
fn sets_g(decoded: &Decoded) -> bool {
    decoded.code() == Opcode::Mov_r64_rm64
        && decoded.op0_register() == Register::R14
        && decoded.memory_segment() == Register::FS
}

/// `mov` of a whole general register into another one.
fn copies(decoded: &Decoded) -> Option<(Registers, Registers)> {
    let moves = matches!(decoded.code(), Opcode::Mov_r64_rm64 | Opcode::Mov_rm64_r64);
    let register = |operand| {
        (decoded.op_kind(operand) == OpKind::Register)
            .then(|| Registers::one(decoded.op_register(operand).number() as u32))
    };
    moves.then(|| Some((register(0)?, register(1)?)))?
}

/// What it does to memory by the stack pointer; `call`, `push` and `pop` move that, and are not told.
fn frame(info: &mut InstructionInfoFactory, decoded: &Decoded) -> Option<Frame> {
    if decoded.is_stack_instruction() || decoded.memory_base() != Register::RSP {
        return None;
    }
    let at = decoded.memory_displacement64() as i64;
    let register = |operand| {
        (decoded.op_kind(operand) == OpKind::Register)
            .then(|| Registers::one(decoded.op_register(operand).number() as u32))
    };
    if decoded.memory_index() == Register::None {
        match decoded.code() {
            Opcode::Mov_rm64_r64 => return Some(Frame::Keeps(register(1)?, at)),
            Opcode::Mov_r64_rm64 => return Some(Frame::Takes(register(0)?, at)),
            _ => {}
        }
    }
    let written = info.info(decoded).used_memory().iter().find(|used| {
        !matches!(
            used.access(),
            OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
        )
    })?;
    let size = i64::try_from(written.memory_size().size()).unwrap_or(0);
    Some(if decoded.memory_index() != Register::None || size == 0 {
        Frame::SpoilsAny
    } else {
        Frame::Spoils(at, size)
    })
}

/// Which instructions every kernel's uprobes emulate (arch/x86/kernel/uprobes.c,
/// branch_setup_xol_ops and push_setup_xol_ops): push of a register, jcc, jmp and call with an
/// immediate, and nop. Longer nops only newer kernels do.
fn is_emulated(raw: &[u8]) -> bool {
    matches!(
        raw,
        [0x90]
            | [0x66, 0x90]
            | [0x50..=0x57]
            | [0x40..=0x4f, 0x50..=0x57]
            | [0x70..=0x7f, _]
            | [0xeb, _]
            | [0xe8 | 0xe9, _, _, _, _]
            | [0x0f, 0x80..=0x8f, _, _, _, _]
    )
}

fn mention(decoded: &Decoded) -> Option<(Vaddr, Mention)> {
    decoded.is_ip_rel_memory_operand().then(|| {
        let kind = match decoded.mnemonic() {
            Mnemonic::Lea => Mention::Address,
            _ => Mention::Access,
        };
        (Vaddr(decoded.ip_rel_memory_address()), kind)
    })
}

fn compared_with(decoded: &Decoded) -> Option<u64> {
    let compares = decoded.mnemonic() == Mnemonic::Cmp && decoded.op0_kind() == OpKind::Register;
    compares.then(|| decoded.try_immediate(1).ok())?
}

/// How many instructions the check for stack space has that the compiler puts before a function's
/// own code. Its forms, by frame size (cmd/internal/obj/x86, stacksplit):
///
/// ```text
/// cmp rsp, [r14+16]                         jbe more
/// lea r12, [rsp-N]    cmp r12, [r14+16]     jbe more
/// mov r12, rsp   sub r12, N   jb more   cmp r12, [r14+16]   jbe more
/// ```
///
/// (24 instead of 16 in functions that run on the system stack.)
pub(super) fn stack_check(bytes: &[u8], entry: Vaddr) -> usize {
    let decoded: Vec<_> = valid(bytes, entry).take(5).collect();
    let end = Vaddr(entry.0.wrapping_add(bytes.len() as u64));
    let forward = |branch: &Decoded, mnemonic| {
        let target = branch.near_branch_target();
        branch.mnemonic() == mnemonic && target > branch.ip() && target < end.0
    };
    let compares = |compare: &Decoded, register| {
        compare.mnemonic() == Mnemonic::Cmp
            && compare.op0_register() == register
            && compare.op1_kind() == OpKind::Memory
            && compare.memory_base() == Register::R14
            && compare.memory_index() == Register::None
            && matches!(compare.memory_displacement64(), 16 | 24)
    };
    let lowers = |lea: &Decoded| {
        lea.mnemonic() == Mnemonic::Lea
            && lea.op0_register() == Register::R12
            && lea.memory_base() == Register::RSP
            && lea.memory_index() == Register::None
    };
    match decoded.as_slice() {
        [compare, branch, ..]
            if compares(compare, Register::RSP) && forward(branch, Mnemonic::Jbe) =>
        {
            2
        }
        [lea, compare, branch, ..]
            if lowers(lea)
                && compares(compare, Register::R12)
                && forward(branch, Mnemonic::Jbe) =>
        {
            3
        }
        [copy, subtract, wrapped, compare, branch]
            if copy.code() == Opcode::Mov_rm64_r64
                && copy.op0_register() == Register::R12
                && copy.op1_register() == Register::RSP
                && subtract.mnemonic() == Mnemonic::Sub
                && subtract.op0_register() == Register::R12
                && forward(wrapped, Mnemonic::Jb)
                && compares(compare, Register::R12)
                && forward(branch, Mnemonic::Jbe) =>
        {
            5
        }
        _ => 0,
    }
}

/// Follows the prologue, `push rbp; mov rbp, rsp` or (up to Go 1.20) `sub rsp, N;
/// mov [rsp+N-8], rbp; lea rbp, [rsp+N-8]`.
pub(super) fn frame_state(bytes: &[u8], entry: Vaddr, index: usize) -> FrameState {
    let mut info = InstructionInfoFactory::new();
    let mut state = FrameState::AtPush;
    // Bytes that the stack pointer is below where the return address lies.
    let mut depth = 0_i64;
    let mut saved_at = None;
    for decoded in valid(bytes, entry).take(index) {
        let is_sp = |operand| {
            decoded.op_kind(operand) == OpKind::Register
                && decoded.op_register(operand) == Register::RSP
        };
        let is_fp = |operand| {
            decoded.op_kind(operand) == OpKind::Register
                && decoded.op_register(operand) == Register::RBP
        };
        // Slot of a memory operand, bytes below the return address.
        let slot = (decoded.memory_base() == Register::RSP
            && decoded.memory_index() == Register::None)
            .then(|| depth.wrapping_sub(decoded.memory_displacement64() as i64));
        match decoded.mnemonic() {
            Mnemonic::Push => {
                depth += 8;
                if is_fp(0) && state == FrameState::AtPush {
                    saved_at = Some(depth);
                }
                if state == FrameState::AtPush {
                    state = FrameState::Unknown;
                }
            }
            Mnemonic::Sub | Mnemonic::Add if is_sp(0) => {
                // By what a register or memory holds.
                let Ok(by) = decoded.try_immediate(1) else {
                    return FrameState::Unknown;
                };
                let by = by as i64;
                depth = match decoded.mnemonic() {
                    Mnemonic::Sub => depth.wrapping_add(by),
                    _ => depth.wrapping_sub(by),
                };
                if state == FrameState::AtPush {
                    state = FrameState::Unknown;
                }
            }
            Mnemonic::Mov
                if is_fp(1)
                    && decoded.op0_kind() == OpKind::Memory
                    && state != FrameState::Built =>
            {
                saved_at = slot;
            }
            // The frame pointer is to point to its saved value, right below the return address.
            Mnemonic::Mov if is_fp(0) && is_sp(1) && saved_at == Some(8) && depth == 8 => {
                state = FrameState::Built;
            }
            Mnemonic::Lea if is_fp(0) && saved_at == Some(8) && slot == Some(8) => {
                state = FrameState::Built;
            }
            _ => {
                let touched = writes(&mut info, &decoded);
                let sp = Registers::one(Register::RSP.number() as u32);
                let fp = Registers::one(Register::RBP.number() as u32);
                let call = matches!(
                    decoded.flow_control(),
                    FlowControl::Call | FlowControl::IndirectCall
                );
                if touched.intersects(fp) || (touched.intersects(sp) && !call) {
                    return FrameState::Unknown;
                }
            }
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Vaddr = Vaddr(0x1000);

    /// The bytes, filled up to 0x60 with nops, so that branches stay within the function.
    fn function(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes.resize(0x60, 0x90);
        bytes
    }

    #[test]
    fn knows_the_stack_check_by_frame_size() {
        // Small: cmp rsp, [r14+16]; jbe.
        let small = function(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x32]);
        assert_eq!(stack_check(&small, ENTRY), 2);
        // On the system stack: cmp rsp, [r14+24]; jbe.
        let system = function(&[0x49, 0x3b, 0x66, 0x18, 0x76, 0x32]);
        assert_eq!(stack_check(&system, ENTRY), 2);
        // Medium: lea r12, [rsp-0x10]; cmp r12, [r14+16]; jbe.
        let medium = function(&[
            0x4c, 0x8d, 0x64, 0x24, 0xf0, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x32,
        ]);
        assert_eq!(stack_check(&medium, ENTRY), 3);
        // Huge, as Go 1.27 compiles it.
        let huge = function(&[
            0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 0x30, 0x86, 0x01, 0x00, 0x72, 0x38, 0x4d, 0x3b,
            0x66, 0x10, 0x76, 0x32, 0x55,
        ]);
        assert_eq!(stack_check(&huge, ENTRY), 5);
        // cmp rsp, [r14+32]; jbe; and a check that branches backwards.
        let other = function(&[0x49, 0x3b, 0x66, 0x20, 0x76, 0x32]);
        assert_eq!(stack_check(&other, ENTRY), 0);
        let backwards = function(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x80]);
        assert_eq!(stack_check(&backwards, ENTRY), 0);
    }

    #[test]
    fn follows_the_frame_pointer() {
        // push rbp; mov rbp, rsp; sub rsp, 0x50; nop
        let current = function(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x50]);
        let states: Vec<_> = (0..4)
            .map(|index| frame_state(&current, ENTRY, index))
            .collect();
        assert_eq!(
            states,
            [
                FrameState::AtPush,
                FrameState::Unknown,
                FrameState::Built,
                FrameState::Built
            ]
        );
        // add rsp, -0x80; mov [rsp+0x78], rbp; lea rbp, [rsp+0x78]
        let older = function(&[
            0x48, 0x83, 0xc4, 0x80, 0x48, 0x89, 0x6c, 0x24, 0x78, 0x48, 0x8d, 0x6c, 0x24, 0x78,
        ]);
        let states: Vec<_> = (0..4)
            .map(|index| frame_state(&older, ENTRY, index))
            .collect();
        assert_eq!(
            states,
            [
                FrameState::AtPush,
                FrameState::Unknown,
                FrameState::Unknown,
                FrameState::Built
            ]
        );
        // The slot is not the one below the return address: lea rbp, [rsp+0x70].
        let wrong = function(&[
            0x48, 0x83, 0xc4, 0x80, 0x48, 0x89, 0x6c, 0x24, 0x70, 0x48, 0x8d, 0x6c, 0x24, 0x70,
        ]);
        assert_eq!(frame_state(&wrong, ENTRY, 3), FrameState::Unknown);
        // add rsp, [rax]
        assert_eq!(
            frame_state(&function(&[0x48, 0x03, 0x20]), ENTRY, 1),
            FrameState::Unknown
        );
        // mov rbp, rax
        assert_eq!(
            frame_state(&function(&[0x48, 0x89, 0xc5]), ENTRY, 1),
            FrameState::Unknown
        );
    }

    #[test]
    fn knows_what_kernels_emulate() {
        let emulated: [&[u8]; 9] = [
            &[0x55],
            &[0x41, 0x57],
            &[0x90],
            &[0x66, 0x90],
            &[0x74, 0x10],
            &[0xeb, 0x10],
            &[0x0f, 0x84, 0, 1, 0, 0],
            &[0xe8, 0, 1, 0, 0],
            &[0xe9, 0, 1, 0, 0],
        ];
        for bytes in emulated {
            assert!(decode(bytes, ENTRY)[0].emulated, "{bytes:x?}");
        }
        let stepped: [&[u8]; 5] = [
            &[0x48, 0x85, 0xc0],
            &[0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x49, 0x3b, 0x66, 0x10],
            &[0x5d],
            &[0xc3],
        ];
        for bytes in stepped {
            assert!(!decode(bytes, ENTRY)[0].emulated, "{bytes:x?}");
        }
    }
}

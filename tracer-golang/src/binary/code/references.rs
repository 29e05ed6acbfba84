//! What a function's code refers to: every static address, of code or of data, that one of its
//! instructions names, as an operand, as the target of a call or of a jump out of the function.
//!
//! Names may be over-approximated (a constant that is no address counts if it could be one), never
//! missed. The compiler names addresses relative to the instruction alone; assembly may as well have one
//! as a number, where the program's own address is fixed. amd64 alone.

use std::collections::VecDeque;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction as Decoded, Mnemonic, OpKind, Register,
};

use rustc_hash::FxHashSet;

use crate::binary::elf::Elf;
use crate::binary::{Arch, Function, Vaddr};

/// What a function refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// Static addresses outside of the function, ascending, each once.
    pub(crate) addresses: Box<[Vaddr]>,
}

/// Where control goes after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Jump(u64),
    Branch(u64),
    /// It returns, or traps.
    Ends,
    /// Within the function as well, for all that the instruction says.
    Anywhere,
}

struct Step {
    address: u64,
    flow: Flow,
    /// Range of its addresses in the list of all.
    named: std::ops::Range<usize>,
}

/// The instructions of a function and what they name.
struct Steps {
    steps: Vec<Step>,
    named: Vec<u64>,
}

impl References {
    /// Those of a whole function. `None` if not all of it was decoded.
    pub(in crate::binary) fn of(elf: &Elf, function: &Function<'_>) -> Option<References> {
        let Steps { named, .. } = Steps::of(elf, function)?;
        Some(References::new(function, named))
    }

    /// Those of what may run in a function from some places on: the instructions at these
    /// addresses, or, where one lies inside of an instruction (a call), the one behind it. `None` if
    /// not all of it was decoded.
    pub(in crate::binary) fn from(
        elf: &Elf,
        function: &Function<'_>,
        places: &[Vaddr],
    ) -> Option<References> {
        let Steps { steps, named } = Steps::of(elf, function)?;
        let at = |address: u64| steps.partition_point(|step| step.address < address);
        let mut seen = vec![false; steps.len()];
        let mut next: VecDeque<usize> = places.iter().map(|place| at(place.0)).collect();
        while let Some(index) = next.pop_front() {
            let Some(step) = steps.get(index) else {
                continue;
            };
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            let mut jump = |target: u64| {
                if function.contains(target) {
                    next.push_back(at(target));
                }
            };
            match step.flow {
                Flow::Next => next.push_back(index + 1),
                Flow::Jump(target) => jump(target),
                Flow::Branch(target) => {
                    jump(target);
                    next.push_back(index + 1);
                }
                Flow::Ends => {}
                Flow::Anywhere => return Some(References::new(function, named)),
            }
        }
        let reached = steps.iter().zip(seen).filter(|(_, seen)| *seen);
        let named = reached.flat_map(|(step, _)| named[step.named.clone()].iter().copied());
        Some(References::new(function, named.collect()))
    }

    fn new(function: &Function<'_>, mut named: Vec<u64>) -> References {
        named.retain(|&address| !function.contains(address) || address == function.entry.0);
        named.sort_unstable();
        named.dedup();
        References {
            addresses: named.into_iter().map(Vaddr).collect(),
        }
    }
}

impl Steps {
    fn of(elf: &Elf, function: &Function<'_>) -> Option<Steps> {
        if elf.arch() != Arch::Amd64 {
            return None;
        }
        let bytes = elf.bytes(function.entry, function.size())?;
        let mut decoder = Decoder::with_ip(64, bytes, function.entry.0, DecoderOptions::NONE);
        let mut all = Steps {
            steps: Vec::with_capacity(bytes.len() / 4),
            named: Vec::new(),
        };
        while decoder.can_decode() {
            if all.step(elf, function, &mut decoder).is_none() {
                return Steps::along(elf, function, bytes);
            }
        }
        Some(all)
    }

    /// Decodes what control reaches alone, for functions with data between their instructions.
    fn along(elf: &Elf, function: &Function<'_>, bytes: &[u8]) -> Option<Steps> {
        let mut decoder = Decoder::with_ip(64, bytes, function.entry.0, DecoderOptions::NONE);
        let mut all = Steps {
            steps: Vec::new(),
            named: Vec::new(),
        };
        let mut seen = FxHashSet::default();
        let mut next = vec![function.entry.0];
        while let Some(address) = next.pop() {
            if !function.contains(address) || !seen.insert(address) {
                continue;
            }
            decoder
                .set_position((address - function.entry.0) as usize)
                .ok()?;
            decoder.set_ip(address);
            match all.step(elf, function, &mut decoder)? {
                Flow::Next => next.push(decoder.ip()),
                Flow::Jump(target) => next.push(target),
                Flow::Branch(target) => next.extend([target, decoder.ip()]),
                Flow::Ends => {}
                Flow::Anywhere => return None,
            }
        }
        all.steps.sort_by_key(|step| step.address);
        Some(all)
    }

    /// Decodes one instruction. `None` if it is none.
    fn step(
        &mut self,
        elf: &Elf,
        function: &Function<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Flow> {
        let decoded = decoder.decode();
        if decoded.is_invalid() {
            return None;
        }
        let from = self.named.len();
        let flow = self.flow(&decoded);
        if decoded.is_ip_rel_memory_operand() {
            self.named.push(decoded.ip_rel_memory_address());
        } else if function.is_assembly() && !elf.is_position_independent() {
            self.numbers(elf, &decoded);
        }
        self.steps.push(Step {
            address: decoded.ip(),
            flow,
            named: from..self.named.len(),
        });
        Some(flow)
    }

    fn flow(&mut self, decoded: &Decoded) -> Flow {
        let near = matches!(
            decoded.op0_kind(),
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
        );
        let target = decoded.near_branch_target();
        if near {
            self.named.push(target);
        }
        match decoded.flow_control() {
            FlowControl::UnconditionalBranch if near => Flow::Jump(target),
            FlowControl::ConditionalBranch if near => Flow::Branch(target),
            FlowControl::Return | FlowControl::Exception => Flow::Ends,
            FlowControl::Interrupt if decoded.mnemonic() == Mnemonic::Int3 => Flow::Ends,
            // System calls come back as well.
            FlowControl::Next
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::Interrupt => Flow::Next,
            _ => Flow::Anywhere,
        }
    }

    /// Numbers that may be an address.
    fn numbers(&mut self, elf: &Elf, decoded: &Decoded) {
        let displaced = decoded.memory_base() != Register::RSP;
        let displacement = displaced.then(|| decoded.memory_displacement64());
        let immediates = (0..decoded.op_count()).filter_map(|at| decoded.try_immediate(at).ok());
        let numbers = displacement.into_iter().chain(immediates);
        self.named
            .extend(numbers.filter(|&number| elf.is_loaded(Vaddr(number))));
    }
}

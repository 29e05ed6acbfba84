//! Where in a function its result is known already, on every way to its return.
//!
//! A probe on the return itself would be single-stepped on amd64, and a uretprobe is out of the
//! question. But a function that builds what it returns usually branches once more when it has it:
//! the kernel emulates branches, and if every way to the return leads over this one, it runs once a
//! call, with the result in a register that nothing overwrites any more.

use super::Vaddr;
use super::code::{self, Code, Flow, Frame, Instruction, Registers};

/// How many arguments a probe can read: those that both architectures pass in registers that the
/// kernel side knows.
const ARGUMENTS: usize = 6;

/// The branch, and the argument register that has the result there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Index of the branch among the instructions.
    pub(super) branch: usize,
    /// Index of the register among those of the arguments.
    pub(super) register: usize,
}

/// The last branch that every way to the only return goes over, once, with the function's first
/// result in the register of an argument. `keeps` tells for a called function whether it keeps the
/// argument registers.
pub(super) fn known(code: &Code<'_>, keeps: impl Fn(Vaddr) -> bool) -> Result<Known, &'static str> {
    let ways = Ways::of(code);
    let mut returns = (0..code.instructions.len()).filter(|&at| code.instructions[at].returns);
    let (Some(end), None) = (returns.next(), returns.next()) else {
        return Err("it does not have exactly one return");
    };
    let branch = (code.stack_check..code.instructions.len())
        .rev()
        .filter(|&at| {
            let instruction = &code.instructions[at];
            instruction.emulated && matches!(instruction.flow, Flow::Branch(_))
        })
        .find(|&at| {
            !ways.lead(&[0], end, Some(at))
                && ways.lead(&[0], at, None)
                && !ways.lead(&ways.next[at], at, None)
        })
        .ok_or("no branch that the kernel emulates lies on every way to its return")?;
    if !ways.keep_g(code, branch) {
        return Err("the register of the running goroutine may be another one at the last branch");
    }
    let mut held = (0..ARGUMENTS).filter(|&index| {
        code::argument(code.arch(), index)
            .is_some_and(|register| ways.carry(code, branch, end, register, &keeps))
    });
    match (held.next(), held.next()) {
        (Some(register), None) => Ok(Known { branch, register }),
        _ => Err("its result is not in one argument register at the last branch"),
    }
}

/// Where control can go from each instruction. A call that never returns is taken for one that does:
/// that adds ways, and hides none.
struct Ways {
    next: Vec<Vec<usize>>,
}

impl Ways {
    fn of(code: &Code<'_>) -> Ways {
        let index = |target: Vaddr| {
            code.instructions
                .binary_search_by_key(&target, |instruction| instruction.address)
                .ok()
        };
        let last = code.instructions.len().saturating_sub(1);
        let next = code.instructions.iter().enumerate();
        let next = next.map(|(at, instruction)| {
            let behind = (at < last).then_some(at + 1);
            match instruction.flow {
                Flow::Next | Flow::Call(_) | Flow::IndirectCall => behind.into_iter().collect(),
                Flow::Branch(target) => behind.into_iter().chain(index(target)).collect(),
                Flow::Jump(target) => index(target).into_iter().collect(),
                Flow::Leaves => Vec::new(),
            }
        });
        Ways {
            next: next.collect(),
        }
    }

    /// Whether a way leads from one of `from` to `to`, not over `without`.
    fn lead(&self, from: &[usize], to: usize, without: Option<usize>) -> bool {
        let mut seen = vec![false; self.next.len()];
        let mut open = from.to_vec();
        while let Some(at) = open.pop() {
            if Some(at) == without || std::mem::replace(&mut seen[at], true) {
                continue;
            }
            if at == to {
                return true;
            }
            open.extend(&self.next[at]);
        }
        false
    }

    /// Whether the register of g holds the running goroutine at `to`, whichever way leads there.
    fn keep_g(&self, code: &Code<'_>, to: usize) -> bool {
        let g = code::g_register(code.arch());
        let mut seen = vec![[false; 2]; self.next.len()];
        let mut open = vec![(0, true)];
        while let Some((at, holds)) = open.pop() {
            if std::mem::replace(&mut seen[at][usize::from(holds)], true) {
                continue;
            }
            let instruction = &code.instructions[at];
            let holds = instruction.sets_g || (holds && !instruction.writes.intersects(g));
            open.extend(self.next[at].iter().map(|&next| (next, holds)));
        }
        !seen[to][usize::from(false)]
    }

    /// Whether what is in `register` at `from` is the first result at `end`, whichever way is taken.
    fn carry(
        &self,
        code: &Code<'_>,
        from: usize,
        end: usize,
        register: Registers,
        keeps: &impl Fn(Vaddr) -> bool,
    ) -> bool {
        let Some(result) = code::argument(code.arch(), 0) else {
            return false;
        };
        let begin = Holders {
            registers: register,
            slots: Vec::new(),
        };
        let mut seen: Vec<(usize, Holders)> = Vec::new();
        let mut open: Vec<(usize, Holders)> = self.next[from]
            .iter()
            .map(|&at| (at, begin.clone()))
            .collect();
        while let Some((at, holders)) = open.pop() {
            if at == end {
                if !holders.registers.intersects(result) {
                    return false;
                }
                continue;
            }
            if seen.iter().any(|(a, known)| *a == at && *known == holders) {
                continue;
            }
            let after = holders.clone().behind(
                &code.instructions[at],
                code::stack_pointer(code.arch()),
                keeps,
            );
            seen.push((at, holders));
            open.extend(self.next[at].iter().map(|&at| (at, after.clone())));
        }
        true
    }
}

/// Who has the result: general registers, and places in the frame by their distance from the stack
/// pointer, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holders {
    registers: Registers,
    slots: Vec<i64>,
}

impl Holders {
    /// Who has it behind an instruction.
    fn behind(
        mut self,
        instruction: &Instruction,
        stack_pointer: Registers,
        keeps: &impl Fn(Vaddr) -> bool,
    ) -> Holders {
        match instruction.flow {
            Flow::Call(target) if keeps(target) => return self,
            // What a function keeps in its frame it has again after a call, the stack moved or not.
            Flow::Call(_) | Flow::IndirectCall => {
                self.registers = Registers::default();
                return self;
            }
            _ => {}
        }
        let had = self.clone();
        self.registers = match instruction.copies {
            Some((to, from)) if had.registers.intersects(from) => had.registers.and(to),
            _ => had.registers.without(instruction.writes),
        };
        match instruction.frame {
            Some(Frame::Keeps(register, at)) => {
                self.spoil(at, 8);
                if had.registers.intersects(register) {
                    self.slots.push(at);
                }
            }
            Some(Frame::Takes(register, at)) if had.slots.contains(&at) => {
                self.registers = self.registers.and(register);
            }
            Some(Frame::Takes(..)) | None => {}
            Some(Frame::Spoils(at, size)) => self.spoil(at, size),
            Some(Frame::SpoilsAny) => self.slots.clear(),
        }
        if instruction.writes.intersects(stack_pointer) {
            self.slots.clear();
        }
        self
    }

    /// Something else is written there.
    fn spoil(&mut self, at: i64, size: i64) {
        self.slots
            .retain(|&slot| slot + 8 <= at || at + size <= slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::Arch;

    const ENTRY: Vaddr = Vaddr(0x1000);
    const BARRIER: Vaddr = Vaddr(0x2000);

    fn find(bytes: &[u8]) -> Result<(u64, usize), &'static str> {
        let code = Code::decode(Arch::Amd64, bytes, ENTRY);
        known(&code, |target| target == BARRIER).map(|known| {
            let at = code.instructions[known.branch].address;
            (at.0 - ENTRY.0, known.register)
        })
    }

    fn call(at: u64, to: u64) -> Vec<u8> {
        let mut bytes = vec![0xe8];
        bytes.extend((to as i32 - at as i32 - 5).to_le_bytes());
        bytes
    }

    /// je over a call of the barrier or another function, then `tail`, which ends with a return.
    fn with_call(to: u64, tail: &[u8]) -> Vec<u8> {
        // push rbp; test rax, rax; je +5
        let begin = [0x55, 0x48, 0x85, 0xc0, 0x74, 0x05];
        [&begin[..], &call(0x1006, to), tail].concat()
    }

    #[test]
    fn the_last_branch_on_every_way_knows_the_result() {
        // mov rax, rcx; ret
        let moved = [0x48, 0x89, 0xc8, 0xc3];
        assert_eq!(find(&with_call(BARRIER.0, &moved)), Ok((4, 2)));
        // ret: the result is there already
        assert_eq!(find(&with_call(BARRIER.0, &[0xc3])), Ok((4, 0)));
        // Another function keeps no register.
        assert!(find(&with_call(0x3000, &moved)).is_err());
        // mov rcx, rbx; mov rax, rcx; ret
        let twice = [0x48, 0x89, 0xd9, 0x48, 0x89, 0xc8, 0xc3];
        assert_eq!(find(&with_call(BARRIER.0, &twice)), Ok((4, 1)));
        // mov rax, [rbx]; ret: computed behind the branch
        let late = [0x48, 0x8b, 0x03, 0xc3];
        assert!(find(&with_call(BARRIER.0, &late)).is_err());
    }

    #[test]
    fn what_is_kept_in_the_frame_over_a_call_is_known() {
        // jle to the mov behind the call; mov [rsp+0x60], rcx; call; mov rcx, [rsp+0x60]; mov rax, rcx; ret
        let store = [0x48, 0x89, 0x4c, 0x24, 0x60];
        let load = [0x48, 0x8b, 0x4c, 0x24, 0x60];
        let tail = [0x48, 0x89, 0xc8, 0xc3];
        let code = |between: &[u8]| {
            let begin = [0x48, 0x85, 0xc0, 0x7e];
            let length = (store.len() + between.len() + 5 + load.len()) as u8;
            let at = 0x1005 + (store.len() + between.len()) as u64;
            let call = call(at, 0x3000);
            [&begin[..], &[length], &store, between, &call, &load, &tail].concat()
        };
        assert_eq!(find(&code(&[])), Ok((3, 2)));
        // mov byte [rsp+0x36], dl: beside it
        assert_eq!(find(&code(&[0x88, 0x54, 0x24, 0x36])), Ok((3, 2)));
        // mov byte [rsp+0x63], dl: into it
        assert!(find(&code(&[0x88, 0x54, 0x24, 0x63])).is_err());
        // push rbx: the distance is another one
        assert!(find(&code(&[0x53])).is_err());
    }

    #[test]
    fn the_register_of_g_is_what_it_should_be() {
        // mov r14, rbx; je +0; ret
        let other = [0x49, 0x89, 0xde, 0x74, 0x00, 0xc3];
        assert!(find(&other).is_err_and(|what| what.contains("goroutine")));
        // mov r14, -8; mov r14, fs:[r14]; je +0; ret
        let reload = [0x64, 0x4d, 0x8b, 0x36, 0x74, 0x00, 0xc3];
        let position_independent = [&[0x49, 0xc7, 0xc6, 0xf8, 0xff, 0xff, 0xff], &reload[..]];
        assert_eq!(find(&position_independent.concat()), Ok((11, 0)));
        // mov r14, rbx; je over the reload; reload; je +0; ret
        let one_way = [&[0x49, 0x89, 0xde, 0x74, 0x04], &reload[..]].concat();
        assert!(find(&one_way).is_err_and(|what| what.contains("goroutine")));
    }

    #[test]
    fn a_branch_that_a_way_goes_around_or_over_twice_is_none() {
        // je +3 (to ret); nop; je +0; ret: the second branch is gone around, the first is not
        let around = [0x74, 0x03, 0x90, 0x74, 0x00, 0xc3];
        assert_eq!(find(&around), Ok((0, 0)));
        // test rax, rax; je back to the test; ret
        let looping = [0x48, 0x85, 0xc0, 0x74, 0xfb, 0xc3];
        assert!(find(&looping).is_err());
        // je +1; ret; ret
        assert!(find(&[0x74, 0x01, 0xc3, 0xc3]).is_err_and(|what| what.contains("one return")));
    }
}

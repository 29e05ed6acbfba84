//! Where in a function its result is known already, on every way to its return.
//!
//! A probe on the return itself would be single-stepped on amd64, and a uretprobe is out of the
//! question. But a function that builds what it returns usually branches once more when it has it:
//! the kernel emulates branches, and if every way to the return leads over this one, it runs once a
//! call, with the result in a register that nothing overwrites any more.

use super::Vaddr;
use super::code::{self, Code, Flow, Registers};

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
    let g = code::g_register(code.arch());
    // What follows the code, to fill up, may look like anything, but no way leads there.
    if (0..code.instructions.len())
        .any(|at| code.instructions[at].writes.intersects(g) && ways.lead(&[0], at, None))
    {
        return Err("it changes the register of the running goroutine");
    }
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
        let mut seen: Vec<(usize, Registers)> = Vec::new();
        let mut open: Vec<(usize, Registers)> =
            self.next[from].iter().map(|&at| (at, register)).collect();
        while let Some((at, holders)) = open.pop() {
            if at == end {
                if !holders.intersects(result) {
                    return false;
                }
                continue;
            }
            if seen.contains(&(at, holders)) {
                continue;
            }
            seen.push((at, holders));
            let instruction = &code.instructions[at];
            let after = match instruction.flow {
                Flow::Call(target) if !keeps(target) => Registers::default(),
                Flow::IndirectCall => Registers::default(),
                _ => match instruction.copies {
                    Some((to, from)) if holders.intersects(from) => holders.and(to),
                    _ => holders.without(instruction.writes),
                },
            };
            open.extend(self.next[at].iter().map(|&at| (at, after)));
        }
        true
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
        // mov r14, rbx; ret
        let other_g = [0x49, 0x89, 0xde, 0xc3];
        assert!(find(&with_call(BARRIER.0, &other_g)).is_err());
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

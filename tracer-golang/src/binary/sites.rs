//! Probe sites: the instruction of a runtime function that a uprobe sits on.
//!
//! Not the entry: the stack check there runs again after the stack grew, so a probe on it counts
//! such a call twice, and its first instruction has to be single-stepped. The site is the first
//! instruction behind the stack check that the kernel emulates, and the registers that the hook
//! reads must not have been written on the way there. On amd64 from Go 1.21 on this is the `push rbp`
//! right behind the check. Always found by decoding from the function's first instruction: a probe
//! off an instruction boundary kills the target.

use tracer_common::{FrameState, HOOK_COUNT, Hook};

use super::code::{self, Code, Flow, Instruction};
use super::elf::Elf;
use super::result;
use super::{FileOffset, Pclntab, Vaddr};

/// Longest way from the entry to a site, instructions. Sites seen are within 20.
const MAX_WAY: usize = 48;

/// Where a probe is to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSite {
    /// What it serves.
    pub hook: Hook,
    /// The function that it lies in.
    pub function: String,
    /// Link-time address of the instruction.
    pub vaddr: Vaddr,
    /// Bytes from the function's entry.
    pub offset_in_function: u64,
    /// Position in the file, which uprobes are attached by.
    pub file_offset: FileOffset,
    /// The instruction there, in assembler's notation.
    pub instruction: String,
    /// Why this instruction was chosen.
    pub why: &'static str,
    /// Bytes from the function's entry to the end of its stack check; 0 if it has none. A site in the
    /// middle of a function is behind it as well.
    pub stack_check: u64,
    /// The registers that the hook's program reads, arguments first, then the one that holds g. All
    /// hold there what they hold by Go's calling convention (ABIInternal).
    pub registers: Vec<&'static str>,
    /// What the frame pointer means there.
    pub frame: FrameState,
    /// The argument register, from 0, that holds the function's result there, if that is what the
    /// hook reads.
    pub result: Option<u8>,
}

/// Why a hook has no site in this binary. Nothing can be probed there; memory can still be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// The program does not contain the function.
    #[error("the program has no {function}: what {} serves does not happen in it, or its Go version has another function for it", .hook.program())]
    Absent {
        /// The hook.
        hook: Hook,
        /// The function.
        function: &'static str,
    },
    /// A copy of the function's code is part of another one, where a probe would miss it.
    #[error(
        "{function} is inlined into {into} (profile-guided optimisation?), so a probe would miss calls; trace without it, or build the program without -pgo"
    )]
    Inlined {
        /// The function.
        function: String,
        /// A function that it was inlined into.
        into: String,
    },
    /// The code is not as expected.
    #[error(
        "no safe probe site in {function}: {problem} at +{offset:#x}, `{instruction}`; trace without events (observe), or use a gotrace that knows this Go version"
    )]
    Code {
        /// The function.
        function: String,
        /// Bytes from the function's entry.
        offset: u64,
        /// The instruction there.
        instruction: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// What a hook's program reads, and where.
struct Contract {
    /// The function; of several, the first that the program has.
    functions: &'static [&'static str],
    place: Place,
    /// Arguments that must be in their registers at the site, by index.
    arguments: &'static [usize],
}

enum Place {
    /// At the function's begin, behind the stack check.
    Begin,
    /// At its only call of `callee`, whose arguments are set by then; the ones that the hook reads
    /// come out of its call of `maker`.
    Call {
        callee: &'static str,
        maker: &'static str,
    },
    /// At the last branch before its return, where its result is known.
    Result,
}

/// The functions behind the hooks, the same in Go 1.19 to 1.27 unless noted.
const fn contract(hook: Hook) -> Contract {
    let (functions, arguments): (&[&str], &[usize]) = match hook {
        // chansend(c *hchan, ep unsafe.Pointer, block bool, callerpc uintptr) bool
        Hook::ChanSend => (&["runtime.chansend"], &[0, 2, 3]),
        // chanrecv(c *hchan, ep unsafe.Pointer, block bool) (selected, received bool)
        Hook::ChanRecv => (&["runtime.chanrecv"], &[0, 2]),
        // closechan(c *hchan)
        Hook::ChanClose => (&["runtime.closechan"], &[0]),
        // selectgo(cas0 *scase, order0 *uint16, pc0 *uintptr, nsends, nrecvs int, block bool)
        Hook::Select => (&["runtime.selectgo"], &[0, 3, 4, 5]),
        // gopark(unlockf, lock unsafe.Pointer, reason waitReason, traceReason, traceskip)
        Hook::Park => (&["runtime.gopark"], &[1, 2]),
        // ready(gp *g, traceskip int, next bool)
        Hook::Ready => (&["runtime.ready"], &[0]),
        // runqput(pp *p, gp *g, next bool), called by newproc's closure when the new goroutine's
        // fields are all set
        Hook::Create => (&["runtime.newproc.func1"], &[1]),
        // makechan(t *chantype, size int) *hchan
        Hook::ChanMake => (&["runtime.makechan"], &[]),
        // execute(gp *g, inheritTime bool)
        Hook::Run => (&["runtime.execute"], &[0]),
        // send(c *hchan, sg *sudog, ep unsafe.Pointer, unlockf func(), skip int)
        Hook::DirectSend => (&["runtime.send"], &[0, 1]),
        // recv(c *hchan, sg *sudog, ep unsafe.Pointer, unlockf func(), skip int)
        Hook::DirectRecv => (&["runtime.recv"], &[0, 1]),
        // selectgo(...) (int, bool)
        Hook::SelectEnd => (&["runtime.selectgo"], &[]),
        // semacquire1(addr *uint32, lifo bool, profile semaProfileFlags, skipframes int, reason
        // waitReason)
        Hook::SemAcquire => (&["runtime.semacquire1"], &[0]),
        // reentersyscall(pc, sp, bp uintptr), also what entersyscall calls
        Hook::SyscallEnter => (&["runtime.reentersyscall"], &[]),
        // exitsyscall()
        Hook::SyscallExit => (&["runtime.exitsyscall"], &[]),
        // gdestroy(gp *g), Go 1.22 and later; goexit0(gp *g) before
        Hook::Exit => (&["runtime.gdestroy", "runtime.goexit0"], &[0]),
    };
    let place = match hook {
        Hook::Create => Place::Call {
            callee: "runtime.runqput",
            maker: "runtime.newproc1",
        },
        Hook::ChanMake | Hook::SelectEnd => Place::Result,
        _ => Place::Begin,
    };
    Contract {
        functions,
        place,
        arguments,
    }
}

/// Whether a program may do without: the linker leaves out what is never called.
fn is_optional(hook: Hook) -> bool {
    matches!(
        hook,
        Hook::ChanSend
            | Hook::ChanRecv
            | Hook::ChanClose
            | Hook::Select
            | Hook::ChanMake
            | Hook::DirectSend
            | Hook::DirectRecv
            | Hook::SelectEnd
    )
}

/// The sites of all hooks that the program has the functions for.
pub(super) fn all(elf: &Elf, table: &Pclntab) -> Result<Vec<HookSite>, SiteError> {
    let inlined = Inlined::find(table);
    Hook::ALL
        .into_iter()
        .map(|hook| find_with(elf, table, hook, &inlined))
        .filter(|site| !matches!(site, Err(SiteError::Absent { hook, .. }) if is_optional(*hook)))
        .collect()
}

/// The site of one hook.
pub(super) fn find(elf: &Elf, table: &Pclntab, hook: Hook) -> Result<HookSite, SiteError> {
    find_with(elf, table, hook, &Inlined::find(table))
}

/// For each hook, a function that its function was inlined into.
struct Inlined<'a>([Option<&'a str>; HOOK_COUNT]);

impl<'a> Inlined<'a> {
    fn find(table: &'a Pclntab) -> Inlined<'a> {
        let names = Hook::ALL.map(|hook| {
            let functions = contract(hook).functions;
            let present = functions.iter().find(|name| table.lookup(name).is_some());
            present.map_or(functions[0], |name| name)
        });
        Inlined(table.inlined_into(names))
    }
}

fn find_with(
    elf: &Elf,
    table: &Pclntab,
    hook: Hook,
    inlined: &Inlined<'_>,
) -> Result<HookSite, SiteError> {
    let contract = contract(hook);
    let function = contract
        .functions
        .iter()
        .find_map(|name| table.lookup(name));
    if let Some(into) = inlined.0[hook as usize] {
        return Err(SiteError::Inlined {
            function: function
                .map_or(contract.functions[0], |f| f.name)
                .to_owned(),
            into: into.to_owned(),
        });
    }
    let function = function.ok_or(SiteError::Absent {
        hook,
        function: contract.functions[0],
    })?;
    let code = Code::of_function(elf, &function).ok_or_else(|| SiteError::Code {
        function: function.name.to_owned(),
        offset: 0,
        instruction: String::new(),
        problem: "the code is not in the file",
    })?;
    let chosen = match contract.place {
        Place::Begin => at_begin(&code, contract.arguments),
        Place::Result => at_result(&code, |target| keeps_registers(table, target)),
        Place::Call { callee, maker } => {
            let entry = |name| table.lookup(name).map(|function| function.entry);
            at_call(&code, entry(callee), entry(maker), contract.arguments)
        }
    };
    let offset_of = |at: Vaddr| at.0.saturating_sub(function.entry.0);
    let site = chosen
        .and_then(|Chosen { index, why, result }| {
            let instruction = &code.instructions[index];
            let file_offset = elf.file_offset(instruction.address).ok_or(Problem {
                at: Some(instruction),
                what: "the code is not in the file",
            })?;
            Ok(HookSite {
                hook,
                function: function.name.to_owned(),
                vaddr: instruction.address,
                offset_in_function: offset_of(instruction.address),
                file_offset,
                instruction: code.text(instruction),
                why,
                stack_check: offset_of(code.stack_check_end()),
                registers: contract
                    .arguments
                    .iter()
                    .filter_map(|&argument| code::argument(code.arch(), argument))
                    .chain([code::g_register(code.arch())])
                    .filter_map(|register| code::register_name(code.arch(), register))
                    .collect(),
                frame: code.frame_state(index),
                result,
            })
        })
        .map_err(|problem| SiteError::Code {
            function: function.name.to_owned(),
            offset: problem.at.map_or(0, |at| offset_of(at.address)),
            instruction: problem.at.map_or_else(String::new, |at| code.text(at)),
            problem: problem.what,
        })?;
    Ok(site)
}

/// What keeps a function from having a site.
struct Problem<'a> {
    at: Option<&'a Instruction>,
    what: &'static str,
}

/// A site among the instructions.
struct Chosen {
    index: usize,
    /// Why it was chosen.
    why: &'static str,
    /// See [`HookSite::result`].
    result: Option<u8>,
}

impl Chosen {
    fn new(index: usize, why: &'static str) -> Chosen {
        Chosen {
            index,
            why,
            result: None,
        }
    }
}

/// The decoder must have understood the whole function: only then is it known that no jump leads
/// back to before the site.
fn check_complete<'a>(code: &'a Code<'_>) -> Result<(), Problem<'a>> {
    match code.is_complete() {
        true => Ok(()),
        false => Err(Problem {
            at: code.instructions.last(),
            what: "the decoder does not know the instruction",
        }),
    }
}

/// The first emulated instruction behind the stack check. There is no jump on the way, since jumps
/// are emulated.
fn at_begin<'a>(code: &'a Code<'_>, arguments: &[usize]) -> Result<Chosen, Problem<'a>> {
    check_complete(code)?;
    let needed: Vec<_> = arguments
        .iter()
        .filter_map(|&index| code::argument(code.arch(), index))
        .chain([code::g_register(code.arch())])
        .collect();
    let begin = code.stack_check;
    for (index, instruction) in code.instructions.iter().enumerate().take(MAX_WAY) {
        if index >= begin && instruction.emulated {
            let from = code.instructions[begin].address;
            return match (code.jump_into(from, instruction.address), begin) {
                (Some(jump), _) => Err(Problem {
                    at: Some(jump),
                    what: "a jump back to before the site, which would fire more than once a call,",
                }),
                (None, 0) => Ok(Chosen::new(
                    index,
                    "no stack check; emulated by the kernel, arguments intact",
                )),
                (None, _) => Ok(Chosen::new(
                    index,
                    "behind the stack check; emulated by the kernel, arguments intact",
                )),
            };
        }
        if needed
            .iter()
            .any(|&register| instruction.writes.intersects(register))
        {
            return Err(Problem {
                at: Some(instruction),
                what: "an argument is overwritten before any instruction that the kernel emulates,",
            });
        }
        if index >= begin && instruction.flow != Flow::Next {
            return Err(Problem {
                at: Some(instruction),
                what: "control leaves before any instruction that the kernel emulates,",
            });
        }
    }
    Err(Problem {
        at: code.instructions.get(begin),
        what: "no instruction that the kernel emulates follows",
    })
}

/// The only call of `callee`; the arguments were written since the only call of `maker`.
fn at_call<'a>(
    code: &'a Code<'_>,
    callee: Option<Vaddr>,
    maker: Option<Vaddr>,
    arguments: &[usize],
) -> Result<Chosen, Problem<'a>> {
    check_complete(code)?;
    let only_call = |of: Option<Vaddr>| {
        let mut calls = code
            .instructions
            .iter()
            .enumerate()
            .filter(|(_, instruction)| {
                matches!(instruction.flow, Flow::Call(target) if Some(target) == of)
            })
            .map(|(index, _)| index);
        calls.next().filter(|_| calls.next().is_none())
    };
    let problem = |at, what| Err(Problem { at, what });
    let (Some(made), Some(site)) = (only_call(maker), only_call(callee)) else {
        return problem(
            code.instructions.first(),
            "not exactly one call each of runtime.newproc1 and runtime.runqput follow",
        );
    };
    let instruction = &code.instructions[site];
    let between = code.instructions.get(made + 1..site).unwrap_or(&[]);
    let is_set = |&index: &usize| {
        code::argument(code.arch(), index).is_some_and(|register| {
            between
                .iter()
                .any(|instruction| instruction.writes.intersects(register))
        })
    };
    if !arguments.iter().all(is_set) {
        return problem(
            Some(instruction),
            "the new goroutine is not passed on from runtime.newproc1",
        );
    }
    if let Some(other) = between
        .iter()
        .find(|instruction| !matches!(instruction.flow, Flow::Next | Flow::Branch(_)))
    {
        return problem(
            Some(other),
            "control leaves between runtime.newproc1 and runtime.runqput",
        );
    }
    let from = code.instructions[made].address;
    if let Some(jump) = code.jump_into(from, instruction.address) {
        return problem(Some(jump), "a jump back to before the site");
    }
    if !instruction.emulated {
        return problem(Some(instruction), "the kernel does not emulate the call");
    }
    Ok(Chosen::new(
        site,
        "the call that puts the new goroutine on a run queue; emulated by the kernel",
    ))
}

/// The last branch before the return, where the result is in a register.
fn at_result<'a>(
    code: &'a Code<'_>,
    keeps_registers: impl Fn(Vaddr) -> bool,
) -> Result<Chosen, Problem<'a>> {
    check_complete(code)?;
    let known = result::known(code, keeps_registers).map_err(|what| Problem {
        at: code.instructions.first(),
        what,
    })?;
    Ok(Chosen {
        index: known.branch,
        why: "the last branch before the return, with the result in a register; emulated by the kernel",
        result: u8::try_from(known.register).ok(),
    })
}

/// The write barrier keeps all registers but those that no argument is in
/// (`src/runtime/asm_amd64.s` and `asm_arm64.s`, Go 1.19 to 1.27; up to 1.20 it has a copy for each
/// register that it takes a value in).
fn keeps_registers(table: &Pclntab, target: Vaddr) -> bool {
    table.function(target).is_some_and(|function| {
        function.entry == target && function.name.starts_with("runtime.gcWriteBarrier")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binary::Arch;

    const ENTRY: Vaddr = Vaddr(0x1000);

    fn begin(arch: Arch, bytes: &[u8], arguments: &[usize]) -> Result<u64, &'static str> {
        let code = Code::decode(arch, bytes, ENTRY);
        match at_begin(&code, arguments) {
            Ok(chosen) => Ok(code.instructions[chosen.index].address.0 - ENTRY.0),
            Err(problem) => Err(problem.what),
        }
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// cmp rsp, [r14+16]; jbe +0x12 (the last ret)
    const CHECK: [u8; 6] = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x12];

    fn checked(body: &[u8]) -> Vec<u8> {
        let mut bytes = CHECK.to_vec();
        bytes.extend(body);
        bytes.resize(0x18, 0x90);
        bytes.push(0xc3);
        bytes
    }

    #[test]
    fn amd64_site_is_the_first_emulated_instruction() {
        // push rbp; mov rbp, rsp
        assert_eq!(
            begin(Arch::Amd64, &checked(&[0x55, 0x48, 0x89, 0xe5]), &[0, 1]),
            Ok(6)
        );
        // sub rsp, 0x40; test rax, rax; je +0
        let older = checked(&[0x48, 0x83, 0xec, 0x40, 0x48, 0x85, 0xc0, 0x74, 0x00]);
        assert_eq!(begin(Arch::Amd64, &older, &[0, 1]), Ok(13));
        // no stack check: push rbp; ret
        assert_eq!(begin(Arch::Amd64, &[0x55, 0xc3], &[0]), Ok(0));
    }

    #[test]
    fn amd64_refuses_what_is_not_safe() {
        // mov rax, rbx; push rbp
        let overwritten = checked(&[0x48, 0x89, 0xd8, 0x55]);
        let problem = begin(Arch::Amd64, &overwritten, &[0]).expect_err("rax is an argument");
        assert!(problem.contains("overwritten"), "{problem}");
        assert_eq!(begin(Arch::Amd64, &overwritten, &[1]), Ok(9));
        // mov r14, rax; push rbp
        let problem =
            begin(Arch::Amd64, &checked(&[0x49, 0x89, 0xc6, 0x55]), &[1]).expect_err("r14 is g");
        assert!(problem.contains("overwritten"), "{problem}");
        // push rbp; inc ecx; jmp back to the push
        let looping = checked(&[0x55, 0xff, 0xc1, 0xeb, 0xfb]);
        let problem = begin(Arch::Amd64, &looping, &[0]).expect_err("a loop");
        assert!(problem.contains("jump back"), "{problem}");
        // push rbp; jmp back to the entry, as after growing the stack
        let restarting = checked(&[0x55, 0xeb, 0xf7]);
        assert_eq!(begin(Arch::Amd64, &restarting, &[0]), Ok(6));
        // mov [rsp], rax; ret
        let problem = begin(Arch::Amd64, &[0x48, 0x89, 0x04, 0x24, 0xc3], &[0])
            .expect_err("nothing to probe");
        assert!(problem.contains("control leaves"), "{problem}");
        // push rbp; an invalid opcode
        let problem = begin(Arch::Amd64, &[0x55, 0x06], &[0]).expect_err("not decoded");
        assert!(problem.contains("does not know"), "{problem}");
    }

    #[test]
    fn arm64_site_is_the_first_emulated_instruction() {
        let check = [0xf940_0b90, 0xeb30_63ff, 0x5400_0109]; // ldr x16; cmp sp, x16; b.ls +8 words
        let prologue = [0xf81f_0ffe, 0xf81f_83fd, 0xd100_23fd]; // str x30; stur x29; sub x29
        let rest = [
            0xb400_0040,
            0xd503_201f,
            0xd503_201f,
            0xd503_201f,
            0xd65f_03c0,
        ];
        let code = words(&[&check[..], &prologue, &rest].concat());
        assert_eq!(begin(Arch::Arm64, &code, &[0, 2]), Ok(0x18)); // cbz x0
        let moved = [0xaa01_03e0]; // mov x0, x1
        let code = words(&[&check[..], &prologue, &moved, &rest[1..]].concat());
        let problem = begin(Arch::Arm64, &code, &[0]).expect_err("x0 is an argument");
        assert!(problem.contains("overwritten"), "{problem}");
        assert_eq!(begin(Arch::Arm64, &code, &[1]), Ok(0x1c)); // nop
    }

    #[test]
    fn create_site_is_the_only_call_behind_the_maker() {
        let (maker, callee) = (Some(Vaddr(0x2000)), Some(Vaddr(0x3000)));
        let call = |at: u64, to: u64| {
            let mut bytes = vec![0xe8];
            bytes.extend((to as i32 - at as i32 - 5).to_le_bytes());
            bytes
        };
        let find = |bytes: &[u8]| {
            let code = Code::decode(Arch::Amd64, bytes, ENTRY);
            at_call(&code, callee, maker, &[1])
                .map(|chosen| code.instructions[chosen.index].address.0 - ENTRY.0)
                .map_err(|problem| problem.what)
        };
        // call maker; mov rbx, rax; call callee; ret
        let good = [
            call(0x1000, 0x2000),
            vec![0x48, 0x89, 0xc3],
            call(0x1008, 0x3000),
            vec![0xc3],
        ];
        assert_eq!(find(&good.concat()), Ok(8));
        let twice = [&good[..3].concat()[..], &call(0x100d, 0x3000), &[0xc3]].concat();
        assert!(find(&twice).is_err_and(|problem| problem.contains("exactly one")));
        let unset = [call(0x1000, 0x2000), call(0x1005, 0x3000), vec![0xc3]].concat();
        assert!(find(&unset).is_err_and(|problem| problem.contains("passed on")));
    }
}

//! Every probe site, checked by other means than those that found it: the toolchain's own
//! disassembler says where instructions are and what they do, and the rules are written here anew.

mod common;

use common::{Build, fixture_with, go_command, installed, output};
use tracer_common::Hook;
use tracer_golang::binary::{Arch, GoBinary, HookSite};

/// The functions that may carry a hook, and the arguments that its program reads, by index.
fn contract(hook: Hook) -> (&'static [&'static str], &'static [usize]) {
    match hook {
        Hook::ChanSend => (&["runtime.chansend"], &[0, 2, 3]),
        Hook::ChanRecv => (&["runtime.chanrecv"], &[0, 2]),
        Hook::ChanClose => (&["runtime.closechan"], &[0]),
        Hook::Select => (&["runtime.selectgo"], &[0, 3, 4, 5]),
        Hook::Park => (&["runtime.gopark"], &[1, 2]),
        Hook::Ready => (&["runtime.ready"], &[0]),
        Hook::Create => (&["runtime.newproc.func1"], &[1]),
        Hook::ChanMake => (&["runtime.makechan"], &[]),
        Hook::Run => (&["runtime.execute"], &[0]),
        Hook::DirectSend => (&["runtime.send"], &[0, 1]),
        Hook::DirectRecv => (&["runtime.recv"], &[0, 1]),
        Hook::Exit => (&["runtime.gdestroy", "runtime.goexit0"], &[0]),
        Hook::SelectEnd => (&["runtime.selectgo"], &[]),
        Hook::SemAcquire => (&["runtime.semacquire1"], &[0]),
        Hook::SyscallEnter => (&["runtime.reentersyscall"], &[]),
        Hook::SyscallExit => (&["runtime.exitsyscall"], &[]),
    }
}

/// The register of an argument (abi-internal.md), or of g, as Go's assembler names it.
fn argument(arch: Arch, index: usize) -> String {
    match arch {
        Arch::Amd64 => ["AX", "BX", "CX", "DI", "SI", "R8", "R9", "R10", "R11"][index].to_owned(),
        Arch::Arm64 => format!("R{index}"),
    }
}

const fn g(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "R14",
        Arch::Arm64 => "R28",
    }
}

/// An instruction as `go tool objdump` prints it.
#[derive(Clone, Debug)]
struct Line {
    address: u64,
    bytes: Vec<u8>,
    operation: String,
    operands: Vec<String>,
}

impl Line {
    fn parse(line: &str) -> Option<Line> {
        let mut columns = line.split('\t').filter(|column| !column.trim().is_empty());
        let (_position, address) = (columns.next()?, columns.next()?.trim());
        let (bytes, text) = (columns.next()?, columns.next()?.trim());
        let address = u64::from_str_radix(address.strip_prefix("0x")?, 16).ok()?;
        let bytes: Vec<u8> = (0..bytes.len() / 2)
            .map(|at| u8::from_str_radix(&bytes[2 * at..2 * at + 2], 16))
            .collect::<Result<_, _>>()
            .ok()?;
        let (operation, operands) = text.split_once(' ').unwrap_or((text, ""));
        Some(Line {
            address,
            bytes,
            operation: operation.to_owned(),
            operands: split(operands),
        })
    }

    /// Where a jump within the function goes.
    fn target(&self) -> Option<u64> {
        let place = self.operands.last()?;
        if let Some(words) = place.strip_suffix("(PC)") {
            let words: i64 = words.parse().ok()?;
            return self.address.checked_add_signed(4 * words);
        }
        u64::from_str_radix(place.strip_prefix("0x")?, 16).ok()
    }

    fn calls(&self, function: &str) -> bool {
        self.operation == "CALL" && self.operands == [format!("{function}(SB)")]
    }

    fn is_conditional_jump(&self, arch: Arch) -> bool {
        match arch {
            Arch::Amd64 => self.operation.starts_with('J') && self.operation != "JMP",
            Arch::Arm64 => {
                ["CBZ", "CBZW", "CBNZ", "CBNZW", "TBZ", "TBNZ"].contains(&self.operation.as_str())
                    || (self.operation.starts_with('B')
                        && self.operation.len() == 3
                        && !["BIC", "BFI", "BLR", "BTI"].contains(&self.operation.as_str()))
            }
        }
    }

    /// Whether control may go elsewhere than to the next instruction.
    fn leaves(&self, arch: Arch) -> bool {
        self.is_conditional_jump(arch)
            || [
                "JMP", "CALL", "RET", "B", "BL", "BR", "BLR", "INT", "UD2", "SYSCALL", "SVC", "BRK",
            ]
            .contains(&self.operation.as_str())
    }

    /// Whether it loads g from where the thread keeps it.
    fn sets_g(&self) -> bool {
        self.operands.len() == 2 && self.operands[0].starts_with("FS:") && self.operands[1] == "R14"
    }

    /// Registers that it writes. The destination comes last in Go's notation.
    fn writes(&self, arch: Arch) -> Vec<&str> {
        let operation = self.operation.as_str();
        let compares = ["CMP", "TEST", "TST", "CMN", "PUSH", "NOP", "PCDATA"];
        if self.leaves(arch) || compares.iter().any(|prefix| operation.starts_with(prefix)) {
            return Vec::new();
        }
        if self.sets_g() {
            return Vec::new();
        }
        if (arch, operation) == (Arch::Amd64, "MULQ") {
            return vec!["AX", "DX"];
        }
        // With a destination as any other.
        let plain = arch == Arch::Arm64 && operation == "MUL";
        for odd in [
            "XCHG", "XADD", "CMPXCHG", "MUL", "DIV", "IDIV", "CPUID", "CAS",
        ] {
            assert!(
                plain || !operation.starts_with(odd),
                "teach this test {self:?}"
            );
        }
        let mut written = Vec::new();
        let moves_base = operation.ends_with(".W") || operation.ends_with(".P");
        for (index, operand) in self.operands.iter().enumerate() {
            let is_last = index + 1 == self.operands.len();
            match operand.split_once('(') {
                None if is_last => written.push(operand.as_str()),
                // A pair of registers.
                Some(("", pair)) if is_last && pair.contains(',') => {
                    written.extend(pair.trim_end_matches(')').split(", "));
                }
                Some((_, base)) if moves_base => written.push(base.trim_end_matches(')')),
                _ => {}
            }
        }
        written
    }

    /// Whether every kernel that has uprobes for the architecture does this instruction's work
    /// itself: arch/x86/kernel/uprobes.c (branch_setup_xol_ops, push_setup_xol_ops) and
    /// arch/arm64/kernel/probes/decode-insn.c (arm_probe_decode_insn).
    fn is_emulated(&self, arch: Arch) -> bool {
        match arch {
            Arch::Amd64 => match self.bytes.as_slice() {
                [0x41, rest] | [rest] => (0x50..0x58).contains(rest) || *rest == 0x90,
                [0x66, 0x90] => true,
                [first, _] => (0x70..0x80).contains(first) || *first == 0xeb,
                [0xe8 | 0xe9, _, _, _, _] => true,
                [0x0f, second, _, _, _, _] => (0x80..0x90).contains(second),
                _ => false,
            },
            Arch::Arm64 => match self.operation.as_str() {
                "B" | "CALL" | "CBZ" | "CBNZ" | "TBZ" | "TBNZ" | "ADR" | "ADRP" | "NOOP"
                | "HINT" => true,
                // Literal loads.
                "MOVD" | "MOVWU" | "MOVW" => self.operands[0].ends_with("(PC)"),
                _ => self.is_conditional_jump(arch),
            },
        }
    }

    /// Whether it looks at the limit of the stack: stackguard0 or stackguard1, which g begins with.
    fn reads_limit(&self, arch: Arch) -> bool {
        let limits = match arch {
            Arch::Amd64 => ["0x10(R14)", "0x18(R14)"],
            Arch::Arm64 => ["16(R28)", "24(R28)"],
        };
        self.operands
            .iter()
            .any(|operand| limits.contains(&operand.as_str()))
    }
}

/// Operands, separated by commas outside of parentheses.
fn split(operands: &str) -> Vec<String> {
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for c in operands.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("never empty").push(c);
    }
    parts.retain(|part| !part.trim().is_empty());
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

/// The instructions of the functions, by `go tool objdump`.
fn disassemble(go: &std::path::Path, file: &std::path::Path, sites: &[HookSite]) -> Vec<Vec<Line>> {
    let names: Vec<String> = sites
        .iter()
        .map(|site| site.function.replace('.', "\\."))
        .collect();
    let text = output(
        go_command(go)
            .args(["tool", "objdump", "-s", &format!("^({})$", names.join("|"))])
            .arg(file),
    );
    let listings: Vec<(&str, Vec<Line>)> = text
        .split("TEXT ")
        .skip(1)
        .map(|listing| {
            let name = listing.split_once("(SB)").expect("a name").0;
            (name, listing.lines().filter_map(Line::parse).collect())
        })
        .collect();
    let listings: std::collections::HashMap<_, _> = listings.into_iter().collect();
    sites
        .iter()
        .map(|site| {
            listings
                .get(site.function.as_str())
                .cloned()
                .unwrap_or_else(|| panic!("objdump does not know {}", site.function))
        })
        .collect()
}

fn check(arch: Arch, site: &HookSite, lines: &[Line]) {
    let (functions, arguments) = contract(site.hook);
    assert!(functions.contains(&site.function.as_str()), "{site:?}");
    let at = lines
        .iter()
        .position(|line| line.address == site.vaddr.0)
        .unwrap_or_else(|| panic!("{site:?} is not on an instruction"));
    let here = &lines[at];
    assert!(
        here.is_emulated(arch),
        "{site:?}: the kernel steps {here:?}"
    );
    let entry = lines[0].address;
    assert_eq!(site.vaddr.0 - entry, site.offset_in_function, "{site:?}");

    // Only a function that checks its stack can ask for more.
    let checks = lines
        .iter()
        .any(|line| line.operation == "CALL" && line.operands[0].starts_with("runtime.morestack"));
    let mut begin = 0;
    if checks {
        let limit = lines.iter().position(|line| line.reads_limit(arch));
        let limit = limit.expect("a function that can ask for more stack looks at its limit");
        let after = lines[limit..]
            .iter()
            .position(|line| line.is_conditional_jump(arch));
        begin = limit + after.expect("a check ends with a jump") + 1;
    }
    assert!(at >= begin, "{site:?} is before the end of the stack check");
    let end = lines.get(begin).map_or(0, |line| line.address - entry);
    assert_eq!(site.stack_check, if checks { end } else { 0 }, "{site:?}");

    if matches!(site.hook, Hook::ChanMake | Hook::SelectEnd) {
        check_at_result(arch, site, lines, at);
        return;
    }
    assert_eq!(site.result, None, "{site:?}");

    // Nothing jumps back to before the site, but to the entry after the stack grew.
    for line in &lines[at..] {
        if let Some(target) = line.target().filter(|_| line.leaves(arch)) {
            let again = target > entry && target <= site.vaddr.0;
            assert!(!again, "{line:?} runs {site:?} again");
        }
    }

    let registers: Vec<String> = arguments
        .iter()
        .map(|index| argument(arch, *index))
        .collect();
    assert_eq!(site.registers.len(), registers.len() + 1, "{site:?}");
    let from = match site.hook {
        // In the middle of its function, between two calls.
        Hook::Create => {
            assert!(here.calls("runtime.runqput"), "{site:?}: {here:?}");
            let maker = lines[..at]
                .iter()
                .position(|line| line.calls("runtime.newproc1"))
                .expect("newproc1 is called first");
            let set = |register: &String| {
                lines[maker..at]
                    .iter()
                    .any(|line| line.writes(arch).contains(&register.as_str()))
            };
            assert!(registers.iter().all(set), "{site:?}");
            maker + 1
        }
        _ => {
            for line in &lines[..at] {
                for written in line.writes(arch) {
                    assert!(
                        !registers.iter().any(|register| register == written),
                        "{line:?} overwrites an argument of {site:?}"
                    );
                }
            }
            begin
        }
    };
    for line in &lines[from..at] {
        assert!(!line.leaves(arch), "{line:?} leaves before {site:?}");
    }
    for line in &lines[..at] {
        assert!(
            !line.writes(arch).contains(&g(arch)),
            "{line:?} overwrites g"
        );
    }
}

/// Where control can go from a line; a call comes back.
fn followers(arch: Arch, lines: &[Line], at: usize) -> Vec<usize> {
    let line = &lines[at];
    let jumped = (line.operation != "CALL" && line.leaves(arch))
        .then(|| line.target())
        .flatten();
    let jumped = lines
        .iter()
        .position(|line| Some(line.address) == jumped)
        .into_iter();
    let ends = ["JMP", "B", "RET", "UD2", "BRK", "INT"].contains(&line.operation.as_str());
    let next = (!ends && at + 1 < lines.len()).then_some(at + 1);
    jumped.chain(next).collect()
}

/// A site at which the function has its result: every way to the return leads over it, once, and
/// what it then returns is in the register that the site names.
fn check_at_result(arch: Arch, site: &HookSite, lines: &[Line], at: usize) {
    let reachable = |from: Vec<usize>, without: Option<usize>| {
        let mut seen = vec![false; lines.len()];
        let mut open = from;
        while let Some(line) = open.pop() {
            if Some(line) != without && !std::mem::replace(&mut seen[line], true) {
                open.extend(followers(arch, lines, line));
            }
        }
        seen
    };
    let is_return = |line: usize| lines[line].operation == "RET";
    let returned = |seen: &[bool]| (0..lines.len()).any(|line| seen[line] && is_return(line));
    assert!(returned(&reachable(vec![0], None)), "{site:?}");
    assert!(
        !returned(&reachable(vec![0], Some(at))),
        "a way to the return leads past {site:?}"
    );
    let behind = reachable(followers(arch, lines, at), None);
    assert!(!behind[at], "{site:?} can run twice in one call");
    // Whoever writes g loads it next.
    for (line, next) in lines[..at].iter().zip(&lines[1..]) {
        assert!(
            !line.writes(arch).contains(&g(arch)) || next.sets_g(),
            "{line:?} overwrites g"
        );
    }

    // Who has the result, on every way: registers and places in the frame, as the assembler names them.
    let result = argument(arch, site.result.expect("it reads a result").into());
    let mut open: Vec<(usize, Vec<String>)> = followers(arch, lines, at)
        .into_iter()
        .map(|line| (line, vec![result.clone()]))
        .collect();
    let mut seen = Vec::new();
    while let Some((at, mut holders)) = open.pop() {
        let line = &lines[at];
        if is_return(at) {
            assert!(
                holders.contains(&argument(arch, 0)),
                "{site:?} returns something else over {line:?}"
            );
        }
        if seen.contains(&(at, holders.clone())) {
            continue;
        }
        seen.push((at, holders.clone()));
        if line.operation == "CALL" {
            let keeps = line.operands[0].starts_with("runtime.gcWriteBarrier");
            holders.retain(|holder| keeps || holder.contains("SP)"));
        } else if !line.leaves(arch)
            && let Some(to) = line.operands.last()
        {
            let whole = ["MOVQ", "MOVD"].contains(&line.operation.as_str());
            let moved = whole && holders.contains(&line.operands[0]);
            let written = line.writes(arch);
            holders.retain(|holder| holder != to && !written.contains(&holder.as_str()));
            if moved {
                holders.push(to.clone());
            }
        }
        open.extend(
            followers(arch, lines, at)
                .into_iter()
                .map(|next| (next, holders.clone())),
        );
    }
}

/// All hooks, by every installed toolchain, for both architectures, at a fixed address and position
/// independent.
#[test]
fn every_site_is_safe_by_a_second_opinion() {
    for go in installed() {
        for arch in ["amd64", "arm64"] {
            for flags in [&[][..], &["-buildmode=pie"]] {
                let build = Build {
                    arch,
                    flags,
                    ..Build::EVERYTHING
                };
                let file = fixture_with(&go, build);
                let binary = GoBinary::open(&file).expect("the fixture can be read");
                let sites = binary.hook_sites().expect("every hook has a site");
                assert_eq!(sites.len(), Hook::ALL.len(), "{build:?}");
                for (site, lines) in sites.iter().zip(disassemble(&go, &file, &sites)) {
                    check(binary.arch(), site, &lines);
                }
            }
        }
    }
}

/// The chansend site of the tests' own toolchain, moved so many bytes from the function's entry.
fn check_moved_to(offset: u64) {
    let file = fixture_with(&common::go(), Build::EVERYTHING);
    let binary = GoBinary::open(&file).expect("the fixture can be read");
    let mut site = binary.hook_site(Hook::ChanSend).expect("a site");
    site.vaddr.0 = site.vaddr.0 - site.offset_in_function + offset;
    site.offset_in_function = offset;
    let lines = disassemble(&common::go(), &file, std::slice::from_ref(&site));
    check(binary.arch(), &site, &lines[0]);
}

#[test]
#[should_panic(expected = "is not on an instruction")]
fn the_second_opinion_refuses_the_middle_of_an_instruction() {
    check_moved_to(1);
}

#[test]
#[should_panic(expected = "before the end of the stack check")]
fn the_second_opinion_refuses_the_stack_check() {
    // Its jump, which the kernel emulates.
    check_moved_to(4);
}

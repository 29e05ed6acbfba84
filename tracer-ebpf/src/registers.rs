//! Registers of Go's internal calling convention (ABIInternal) at a probe site.
//!
//! Integer arguments: RAX, RBX, RCX, RDI, RSI, R8 with the goroutine in R14 on amd64; R0 to R5
//! with the goroutine in R28 on arm64. Source: `src/cmd/compile/abi-internal.md` of Go, unchanged
//! since amd64 got it in 1.17 and arm64 in 1.18.

use aya_ebpf::programs::ProbeContext;

/// The arguments and the g register of one hit.
#[derive(Clone, Copy)]
pub struct Registers<'a>(&'a ProbeContext);

/// Low byte of a register that carries a `bool` or `uint8`: the convention leaves the rest of the
/// register undefined.
pub const fn byte(register: u64) -> u8 {
    register as u8
}

impl<'a> Registers<'a> {
    /// The registers of the hit that `ctx` describes.
    #[inline(always)]
    pub fn new(ctx: &'a ProbeContext) -> Registers<'a> {
        Registers(ctx)
    }
}

impl Registers<'_> {
    /// The argument with this index, from 0; 0 for one that there is no accessor for.
    ///
    /// All are read, then one is chosen: the verifier refuses a read of the context at a place that
    /// depends on something, which the compiler would make of a choice between reads.
    #[inline(always)]
    pub fn argument(self, index: u8) -> u64 {
        let (first, second, third) = (self.arg0(), self.arg1(), self.arg2());
        let (fourth, fifth, sixth) = (self.arg3(), self.arg4(), self.arg5());
        match index {
            0 => first,
            1 => second,
            2 => third,
            3 => fourth,
            4 => fifth,
            5 => sixth,
            _ => 0,
        }
    }
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident = { $($field:tt)+ };)+) => {
        impl Registers<'_> {
            $(
                $(#[$doc])*
                #[inline(always)]
                pub fn $name(self) -> u64 {
                    // SAFETY: the kernel passes a pt_regs, and the verifier checks each access.
                    // Volatile, so that each is read where it is asked for: see `argument`.
                    unsafe { (&raw const (*self.0.regs).$($field)+).read_volatile() }
                }
            )+
        }
    };
}

#[cfg(bpf_target_arch = "x86_64")]
accessors! {
    /// First argument.
    arg0 = { rax };
    /// Second argument.
    arg1 = { rbx };
    /// Third argument.
    arg2 = { rcx };
    /// Fourth argument.
    arg3 = { rdi };
    /// Fifth argument.
    arg4 = { rsi };
    /// Sixth argument.
    arg5 = { r8 };
    /// Address of the running g.
    g = { r14 };
    /// Frame pointer.
    fp = { rbp };
    /// Stack pointer.
    sp = { rsp };
}

#[cfg(bpf_target_arch = "aarch64")]
accessors! {
    /// First argument.
    arg0 = { regs[0] };
    /// Second argument.
    arg1 = { regs[1] };
    /// Third argument.
    arg2 = { regs[2] };
    /// Fourth argument.
    arg3 = { regs[3] };
    /// Fifth argument.
    arg4 = { regs[4] };
    /// Sixth argument.
    arg5 = { regs[5] };
    /// Address of the running g.
    g = { regs[28] };
    /// Frame pointer.
    fp = { regs[29] };
    /// Stack pointer.
    sp = { sp };
}

//! What a kernel has of BPF, asked one by one, so that an object that does not load has a reason.

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported};

use super::with_sources;

/// What the programs of probes need beside uprobes. An error: the kernel did not let us ask.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    /// One buffer for all CPUs, Linux 5.8.
    pub(crate) ring_buffer: Result<bool, String>,
    /// A number of ours for each probe, Linux 5.15 for uprobes.
    pub(crate) attach_cookies: Result<bool, String>,
}

impl Features {
    /// Asks by making such a map, and by loading a program that calls such a function; both are gone at once.
    pub(crate) fn ask() -> Features {
        let cookie = BpfHelper::BPF_FUNC_get_attach_cookie;
        Features {
            ring_buffer: is_map_supported(MapType::RingBuf).map_err(|error| with_sources(&error)),
            attach_cookies: is_helper_supported(ProgramType::KProbe, cookie)
                .map_err(|error| with_sources(&error)),
        }
    }
}

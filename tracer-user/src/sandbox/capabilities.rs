//! Capabilities of this thread, and of those that it starts.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

/// What the agent needs as long as it runs, with what for: docs/deploy.md has the same.
const NEEDED: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Of what is permitted, what to keep. Who was given CAP_SYS_ADMIN in place of the two that were split from it
/// (Linux 5.8) can do nothing without it.
fn kept(permitted: CapabilitySet) -> CapabilitySet {
    let split = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
    let needed = match permitted.contains(split) {
        true => NEEDED,
        false => NEEDED.union(CapabilitySet::SYS_ADMIN),
    };
    permitted.intersection(needed)
}

/// Takes all but what is kept from what this thread could ever get.
pub(super) fn lower_bound() -> Result<(), String> {
    clear_ambient_capability_set().map_err(|error| error.to_string())?;
    let kept = kept(permitted()?);
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        // This kernel knows no more of them.
        let Ok(bounded) = capability_is_in_bounding_set(capability) else {
            break;
        };
        if !bounded || kept.contains(capability) {
            continue;
        }
        remove_capability_from_bounding_set(capability).map_err(|error| match error {
            Errno::PERM => "CAP_SETPCAP is not there, which takes others from it".to_owned(),
            error => error.to_string(),
        })?;
    }
    Ok(())
}

/// Drops all others, but for the bound.
pub(super) fn drop_others() -> Result<(), String> {
    let kept = kept(permitted()?);
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(|error| error.to_string())
}

fn permitted() -> Result<CapabilitySet, String> {
    let sets = capabilities(None).map_err(|error| error.to_string())?;
    Ok(sets.permitted)
}

/// What this thread may do now.
pub(super) fn effective() -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// Such as `CAP_BPF`; by its number what has no name here.
pub(super) fn names(set: CapabilitySet) -> Vec<String> {
    let known = set
        .iter_names()
        .map(|(name, capability)| (format!("CAP_{name}"), capability));
    let mut rest = set;
    let mut names: Vec<String> = known
        .map(|(name, capability)| {
            rest.remove(capability);
            name
        })
        .collect();
    names.extend(
        (0..u64::BITS)
            .filter(|bit| rest.bits() & (1 << bit) != 0)
            .map(|bit| bit.to_string()),
    );
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_kept_and_nothing_else() {
        let all = CapabilitySet::from_bits_retain((1 << 41) - 1);
        let admin = CapabilitySet::SYS_ADMIN;
        let other = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
        for (permitted, expected) in [
            (all, NEEDED),
            (NEEDED, NEEDED),
            (CapabilitySet::empty(), CapabilitySet::empty()),
            (
                admin.union(other).union(CapabilitySet::KILL),
                admin.union(other),
            ),
            // One of the two is not enough.
            (
                all.difference(CapabilitySet::PERFMON),
                NEEDED.union(admin).difference(CapabilitySet::PERFMON),
            ),
        ] {
            assert_eq!(kept(permitted), expected, "{permitted:?}");
        }
    }

    #[test]
    fn capabilities_have_the_names_of_the_manual() {
        assert_eq!(
            names(NEEDED),
            [
                "CAP_DAC_READ_SEARCH",
                "CAP_SYS_PTRACE",
                "CAP_PERFMON",
                "CAP_BPF"
            ]
        );
        let unknown = CapabilitySet::from_bits_retain((1 << 63) | (1 << 19));
        assert_eq!(names(unknown), ["CAP_SYS_PTRACE", "63"]);
    }
}

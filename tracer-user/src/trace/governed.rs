//! The governor's eyes and hands: it reads the target's CPU time and the kernel side's counts, and knows
//! where probes go.

use tracer_common::{HOOK_COUNT, Hook};
use tracer_golang::process::ktime_now;

use super::cpu_clock::CpuClock;
use super::governor::{Account, Decision, Governor, Plan, Reading};
use super::kernel::Kernel;
use super::probes::Placing;
use crate::cli::Level;
use crate::document::run;

/// A target whose probes are governed.
pub(crate) struct Governed {
    placing: Placing,
    clock: CpuClock,
    governor: Governor,
}

impl Governed {
    /// Begins without a probe, and never traces more than `ceiling`. `budget` is a share of the target's CPU time,
    /// `hit_seconds` the cost of one hit. `None` if the target has ended.
    pub(crate) fn begin(
        placing: Placing,
        kernel: &Kernel,
        ceiling: Level,
        budget: f64,
        hit_seconds: f64,
    ) -> Option<Governed> {
        let clock = CpuClock::of(placing.pid()).ok()?;
        let now = read(clock, kernel, placing.slot())?;
        Some(Governed {
            placing,
            clock,
            governor: Governor::new(ceiling, budget, hit_seconds * 1e9, now),
        })
    }

    /// Where probes go.
    pub(crate) const fn placing(&self) -> &Placing {
        &self.placing
    }

    /// Share of the target's CPU time that the probes may take.
    pub(crate) const fn budget(&self) -> f64 {
        self.governor.budget()
    }

    /// Cost of one hit in seconds.
    pub(crate) fn hit_seconds(&self) -> f64 {
        self.governor.hit_cost() / 1e9
    }

    /// What is to change now.
    pub(crate) fn judge(&mut self, kernel: &Kernel) -> Option<Decision> {
        let now = read(self.clock, kernel, self.placing.slot())?;
        self.governor.judge(now)
    }

    /// From now on it traces `ceiling` at most; the plan that this makes necessary, if one is.
    pub(crate) fn limit(&mut self, ceiling: Level) -> Option<Plan> {
        self.governor.limit(ceiling)
    }

    /// What it traces at most.
    pub(crate) const fn ceiling(&self) -> Level {
        self.governor.ceiling()
    }

    /// What it traces.
    pub(crate) const fn plan(&self) -> Plan {
        self.governor.plan()
    }

    /// What was taken and allowed.
    pub(crate) const fn account(&self) -> Account {
        self.governor.account()
    }

    /// The hooks of a plan that have a site in this target.
    pub(crate) fn hooks(&self, plan: Plan) -> Vec<Hook> {
        Hook::ALL
            .into_iter()
            .filter(|hook| plan.traces(*hook) && self.placing.has(*hook))
            .collect()
    }

    /// The plan is in place.
    pub(crate) fn changed(&mut self, plan: Plan, kernel: &Kernel) {
        if let Some(now) = read(self.clock, kernel, self.placing.slot()) {
            self.governor.changed(plan, now);
        }
    }

    /// Books what happened up to now; there will be no change any more.
    pub(crate) fn settle(&mut self, kernel: &Kernel) {
        let plan = self.governor.plan();
        // A target that has ended has no clock; what it did last is not booked then.
        self.changed(plan, kernel);
    }

    /// What it does, for documents.
    pub(crate) fn document(&self) -> run::Governor {
        let governor = &self.governor;
        let (plan, account) = (governor.plan(), governor.account());
        let per_hook = |values: [u64; HOOK_COUNT]| {
            Hook::ALL
                .into_iter()
                .zip(values)
                .filter(|(hook, _)| self.placing.has(*hook))
                .map(|(hook, nanos)| (hook.program().into(), nanos as f64 / 1e9))
        };
        let estimates = if plan.windows {
            governor.windows().estimates()
        } else {
            Vec::new()
        };
        run::Governor {
            level: if plan.windows {
                Level::Wake
            } else {
                plan.level
            }
            .name()
            .into(),
            windows: plan.windows,
            skipped: plan
                .skipped
                .iter()
                .map(|hook| hook.program().into())
                .collect(),
            budget: governor.budget(),
            tax: account.tax(),
            seconds_per_hit: self.hit_seconds(),
            spent_seconds: account.spent / 1e9,
            allowed_seconds: account.allowed / 1e9,
            cpu_seconds: account.cpu as f64 / 1e9,
            debt_seconds: account.debt.max(0.0) / 1e9,
            traced_seconds: per_hook(governor.traced()).collect(),
            windows_made: governor.windows().count(),
            estimates: estimates
                .iter()
                .map(|estimate| run::Estimate {
                    hook: estimate.hook.program().into(),
                    estimate: true,
                    per_second: estimate.per_second,
                    low: estimate.interval.map(|(low, _)| low),
                    high: estimate.interval.map(|(_, high)| high),
                })
                .collect(),
        }
    }
}

/// `None` if the target has ended, or the counters cannot be read, which is said.
fn read(clock: CpuClock, kernel: &Kernel, slot: u32) -> Option<Reading> {
    let cpu = clock.nanos().ok()?;
    let hits = kernel
        .hits(slot)
        .inspect_err(|error| tracing::warn!("{error}"))
        .ok()?;
    Some(Reading {
        at: ktime_now(),
        cpu,
        hits,
    })
}

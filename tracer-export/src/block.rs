//! Where goroutines wait for each other, and how long: Go's block profile, of what was traced.
//!
//! It counts waits that only another goroutine can end (channels, selects, `sync`), as Go's does. A wait's stack is
//! that of a read of memory that came in its midst, from the innermost frame of the user on; of a wait that no read
//! met, the place of the operation, where that is traced; else it is counted under its reason and the goroutine's
//! function. A wait that has not ended is counted up to the end of the recording, under a label of its own.

use std::io;
use std::sync::Arc;

use tracer_model::symbol::user_site;

use crate::profile::{Key, Measure, Profile, Stack};
use crate::timeline::{
    Canvas, Channel, End, Fill, Gap, Goroutine, Mark, Message, Place, Slice, State, Wake,
};
use crate::{Part, Symbols};

/// Counts waits.
pub struct Blocking {
    symbols: Symbols,
    profile: Profile,
    cut: u64,
    cut_nanos: u64,
    begun_before: u64,
    lost: u64,
    gaps: u64,
    damages: Vec<String>,
}

/// Damages that are told one by one.
const DAMAGES: usize = 8;

impl Blocking {
    /// Nothing so far.
    pub fn new(part: Part, symbols: Symbols) -> Blocking {
        let measure = |kind, unit| Measure { kind, unit };
        Blocking {
            symbols,
            profile: Profile::new(
                vec![
                    measure("contentions", "count"),
                    measure("delay", "nanoseconds"),
                ],
                part.from,
                part.to.since(part.from),
            ),
            cut: 0,
            cut_nanos: 0,
            begun_before: 0,
            lost: 0,
            gaps: 0,
            damages: Vec::new(),
        }
    }

    /// What was counted: complete when the timeline is finished.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    fn stack(&self, slice: &Slice<'_>, reason: &str) -> Stack {
        match slice.place {
            Place::Stack(stack) => {
                let user = user_site(stack, &*self.symbols);
                let from = user.and_then(|user| stack.iter().position(|&pc| pc == user));
                Stack::Frames(stack.get(from.unwrap_or(0)..).unwrap_or(stack).into())
            }
            Place::Site(site) => Stack::Frames(Arc::new([site])),
            Place::NotKnown => Stack::Unknown {
                why: format!("place not known: {reason}").into(),
                start: slice.start,
            },
        }
    }
}

impl Canvas for Blocking {
    fn goroutine(&mut self, _: &Goroutine<'_>) -> io::Result<()> {
        Ok(())
    }

    fn channel(&mut self, _: &Channel<'_>) -> io::Result<()> {
        Ok(())
    }

    fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()> {
        let State::Waiting { reason, .. } = slice.state else {
            return Ok(());
        };
        if !reason.kind().ends_only_by_goroutine() {
            return Ok(());
        }
        let nanos = slice.to.since(slice.from);
        if slice.end == End::Cut {
            self.cut += 1;
            self.cut_nanos = self.cut_nanos.saturating_add(nanos);
            return Ok(());
        }
        self.begun_before += u64::from(!slice.begun);
        let text = reason.to_string();
        let mut labels = vec![("wait_reason".into(), text.as_str().into())];
        if slice.end == End::Open {
            labels.push(("ended".into(), "no".into()));
        }
        let stack = self.stack(slice, &text);
        let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
        self.profile.add(Key { stack, labels }, &[1, nanos]);
        Ok(())
    }

    fn wake(&mut self, _: &Wake) -> io::Result<()> {
        Ok(())
    }

    fn message(&mut self, _: &Message) -> io::Result<()> {
        Ok(())
    }

    fn fill(&mut self, _: &Fill) -> io::Result<()> {
        Ok(())
    }

    fn mark(&mut self, _: &Mark) -> io::Result<()> {
        Ok(())
    }

    fn gap(&mut self, gap: &Gap<'_>) -> io::Result<()> {
        self.lost += gap.lost;
        self.gaps += 1;
        if gap.damage.is_some() && self.damages.len() < DAMAGES {
            self.damages.push(gap.title());
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut comments = vec![
            format!(
                "{} waits began before what was traced, and count from its beginning",
                self.begun_before
            ),
            format!("{} events are lost, in {} gaps", self.lost, self.gaps),
            format!(
                "{} waits, of {} ns by then, met a gap and are not counted: nobody saw how long they were",
                self.cut, self.cut_nanos
            ),
        ];
        comments.append(&mut self.damages);
        self.profile.comments = comments;
        Ok(())
    }
}

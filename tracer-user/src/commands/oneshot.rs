//! Commands that look once, at a process' memory or at a saved snapshot, and place no probe.

use std::io::Write as _;

use serde::Serialize;
use tracer_golang::process::value::Limits;
use tracer_golang::process::{ChannelScope, ReadOptions};
use tracer_model::ids::{ChanAddr, Goid};
use tracer_model::query::{Criterion, GroupBy, group};
use tracer_model::snapshot::{Channel, Snapshot};

use super::Verdict;
use super::source::Source;
use crate::cli::{
    ChannelArgs, ChannelsArgs, Format, GoroutinesArgs, SnapshotArgs, StackArgs, ValuesArgs,
};
use crate::document;
use crate::document::goroutines::Style;
use crate::failure::Failure;
use crate::listing::{self, Grouping};
use crate::progress::Busy;
use crate::record;
use crate::text;

/// Bytes of output that are written at once.
const BUFFER: usize = 64 << 10;

/// `gotrace goroutines`.
pub(super) fn goroutines(args: &GoroutinesArgs) -> anyhow::Result<Verdict> {
    let mut source = Source::open(&args.source)?;
    let snapshot = read(
        &mut source,
        &ReadOptions {
            max_frames: args.depth,
            channels: ChannelScope::None,
            ..ReadOptions::default()
        },
    )?;
    let mut filter = args.list.filter();
    // What people look for is theirs; machines get everything that they did not exclude.
    if args.format == Format::Text
        && !args.system
        && !filter
            .with
            .iter()
            .any(|criterion| matches!(criterion, Criterion::System))
    {
        filter.with.push(Criterion::User);
    }
    let unsure = source.unsure();
    let mut chosen = listing::choose(&snapshot, &filter, source.symbols());
    tracer_model::query::SortBy::from(args.sort).sort(&snapshot.goroutines, &mut chosen);
    match args.format {
        Format::Json if let Some(Grouping::By(by)) = &args.group => {
            let mut groups = group(&snapshot, chosen, by, source.symbols());
            groups.truncate(args.limit.unwrap_or(usize::MAX));
            let document = document::groups::Document::new(
                source.info(),
                &snapshot,
                &groups,
                source.symbols(),
                source.clock(),
                Style::Pretty,
            );
            print_json(&document.with_unknown(&unsure))?;
        }
        Format::Json => {
            let limit = args.limit.unwrap_or(usize::MAX);
            let list = chosen
                .iter()
                .take(limit)
                .filter_map(|index| snapshot.goroutines.get(*index));
            let document = document::goroutines::Document::new(
                source.info(),
                &snapshot,
                list,
                source.symbols(),
                source.clock(),
                Style::Pretty,
            );
            print_json(&document.with_unknown(&unsure))?;
        }
        Format::Text => {
            let grouping = args.group.clone().unwrap_or(Grouping::By(GroupBy::Stack));
            let list = text::goroutines::List {
                snapshot: &snapshot,
                symbols: source.symbols(),
                depth: args.depth,
                limit: args.limit.unwrap_or(usize::MAX),
                styles: text::stdout_has_styles(),
            };
            let mut out = anstream::stdout().lock();
            writeln!(out, "{}\n", source.heading(&snapshot))?;
            // Much of it: nothing is to look for styles to drop.
            let raw = &mut std::io::stdout().lock();
            match grouping {
                Grouping::None => list.each(&chosen, raw)?,
                Grouping::By(by) => list.grouped(&chosen, &by, raw)?,
            }
            writeln!(out)?;
            print_errors(&mut out, &snapshot)?;
        }
    }
    Ok(Verdict::Clean)
}

/// `gotrace stack GOID`.
pub(super) fn stack(args: &StackArgs) -> anyhow::Result<Verdict> {
    let mut source = Source::open(&args.source)?;
    let snapshot = read(
        &mut source,
        &ReadOptions {
            max_frames: 1024,
            channels: ChannelScope::None,
            ..ReadOptions::default()
        },
    )?;
    let position = snapshot
        .goroutines
        .iter()
        .position(|goroutine| goroutine.goid == Goid(args.goid));
    let goroutine = position.and_then(|index| snapshot.goroutines.get(index));
    let (Some(index), Some(goroutine)) = (position, goroutine) else {
        return Err(Failure::new(format!("there is no goroutine {}", args.goid))
            .because("it has ended, or never was")
            .next("list them with `gotrace goroutines`")
            .into());
    };
    match args.format {
        Format::Json => {
            let document = document::goroutines::Document::new(
                source.info(),
                &snapshot,
                std::iter::once(goroutine),
                source.symbols(),
                source.clock(),
                Style::Pretty,
            );
            print_json(&document.with_unknown(&source.unsure()))?;
        }
        Format::Text => {
            let list = text::goroutines::List {
                snapshot: &snapshot,
                symbols: source.symbols(),
                depth: usize::MAX,
                limit: usize::MAX,
                styles: text::stdout_has_styles(),
            };
            list.each(&[index], &mut std::io::stdout().lock())?;
            let mut out = anstream::stdout().lock();
            for line in text::goroutines::waits_on(goroutine, &snapshot) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(Verdict::Clean)
}

/// `gotrace channels`.
pub(super) fn channels(args: &ChannelsArgs) -> anyhow::Result<Verdict> {
    let mut source = Source::open(&args.source)?;
    let scope = match args.heap {
        true => ChannelScope::Heap,
        false => ChannelScope::Stacks,
    };
    let mut snapshot = read(&mut source, &value_options(&args.values, scope, &[]))?;
    if !args.heap {
        // A saved snapshot has all of them.
        snapshot.channels.retain(Channel::is_in_use);
    }
    let filter = args.list.filter();
    listing::choose_channels(&mut snapshot, &filter, source.symbols());
    listing::sort_channels(&mut snapshot.channels, args.sort);
    snapshot.channels.truncate(args.limit.unwrap_or(usize::MAX));
    match args.format {
        Format::Json => print_json(&document::channels::Document::new(
            source.info(),
            &snapshot,
            &snapshot.channels,
            source.symbols(),
            source.clock(),
        ))?,
        Format::Text => {
            let mut out = anstream::stdout().lock();
            writeln!(out, "{}\n", source.heading(&snapshot))?;
            if snapshot.channels.is_empty() {
                writeln!(out, "No goroutine waits on a channel or holds one.")?;
            } else {
                write!(out, "{}", text::channels::render(&snapshot))?;
            }
            print_errors(&mut out, &snapshot)?;
        }
    }
    Ok(Verdict::Clean)
}

/// `gotrace channel ADDR`.
pub(super) fn channel(args: &ChannelArgs) -> anyhow::Result<Verdict> {
    let mut source = Source::open(&args.source)?;
    let scope = ChannelScope::Stacks;
    let mut snapshot = read(
        &mut source,
        &value_options(&args.values, scope, &[args.address]),
    )?;
    snapshot
        .channels
        .retain(|channel| channel.addr == args.address);
    let Some(channel) = snapshot.channels.first() else {
        return Err(
            Failure::new(format!("there is no channel at {}", args.address))
                .because(snapshot.errors.first().map_or(
                    "nobody waits on it, and memory there is no channel",
                    String::as_str,
                ))
                .next("list channels with `gotrace channels`")
                .into(),
        );
    };
    match args.format {
        Format::Json => print_json(&document::channels::Document::new(
            source.info(),
            &snapshot,
            &snapshot.channels,
            source.symbols(),
            source.clock(),
        ))?,
        Format::Text => {
            let mut out = anstream::stdout().lock();
            write!(
                out,
                "{}",
                text::channels::picture(channel, &snapshot, source.symbols())
            )?;
        }
    }
    Ok(Verdict::Clean)
}

/// `gotrace snapshot -o FILE`.
pub(super) fn snapshot(args: &SnapshotArgs) -> anyhow::Result<Verdict> {
    let mut source = Source::of_process(args.target.pid, args.target.name.as_deref())?;
    let mut snapshot = read(
        &mut source,
        &value_options(&args.values, ChannelScope::Heap, &[]),
    )?;
    let busy = Busy::with("searching memory for who is stuck");
    source.find_reachable(&mut snapshot)?;
    drop(busy);
    let bytes = record::write_look(
        &args.output,
        source.info().clone(),
        source.clock(),
        &snapshot,
        source.symbols(),
    )?;
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "{}: {} and {}, {} bytes",
        args.output.display(),
        text::count(snapshot.goroutines.len(), "goroutine"),
        text::count(snapshot.channels.len(), "channel"),
        text::thousands(bytes),
    )?;
    Ok(Verdict::Clean)
}

/// Reads the source; a word is said if that takes long.
fn read(source: &mut Source, options: &ReadOptions) -> Result<Snapshot, Failure> {
    let _busy = source.is_live().then(|| Busy::with("reading memory"));
    source.snapshot(options)
}

pub(super) fn value_options(
    args: &ValuesArgs,
    scope: ChannelScope,
    extra: &[ChanAddr],
) -> ReadOptions {
    let limits = Limits::default();
    ReadOptions {
        values: args.values,
        redact: args.redact,
        limits: Limits {
            string_bytes: args.max_bytes.unwrap_or(limits.string_bytes),
            total_bytes: args.max_bytes.unwrap_or(limits.total_bytes),
            ..limits
        },
        channels: scope,
        extra_channels: extra.to_vec(),
        ..ReadOptions::default()
    }
}

pub(super) fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::with_capacity(BUFFER, std::io::stdout().lock());
    serde_json::to_writer_pretty(&mut out, document).map_err(std::io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

pub(super) fn print_errors(
    out: &mut impl std::io::Write,
    snapshot: &Snapshot,
) -> std::io::Result<()> {
    for error in &snapshot.errors {
        writeln!(
            out,
            "{}",
            text::styled(text::NOTICE, format!("not read: {}", text::safe(error)))
        )?;
    }
    Ok(())
}

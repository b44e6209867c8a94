//! `korch events`: the last events, and those that come.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::http::Server;
use super::patience::Patience;
use super::sse::{self, Parser};
use super::{text, write};
use crate::cli::Output;
use crate::cli::client::EventsArgs;
use crate::domain::event::compact_json;
use crate::exit::Exit;
use crate::telemetry;

/// How long to wait before a broken stream is opened anew: from, to.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// An API that is away for longer than this does not come back.
const AWAY: Duration = Duration::from_secs(300);
/// How soon it is noticed that nobody reads any more, where nothing comes that could be written.
const LISTENER: Duration = Duration::from_millis(250);

/// Shows events.
pub async fn events(args: EventsArgs) -> anyhow::Result<Exit> {
    let server = Server::new(&args.ask.server)?;
    if !args.follow {
        let events = last(&server, args.limit).await?;
        write(|out| {
            events.iter().try_for_each(|event| out.write_all(line(event, args.ask.output).as_bytes()))
        })?;
        return Ok(Exit::Done);
    }
    tokio::select! {
        followed = follow(&server, &args) => followed,
        () = unread() => Ok(Exit::Done),
    }
}

async fn last(server: &Server, limit: u32) -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Last {
        last_events: Vec<Box<RawValue>>,
    }
    let last: Last = server.ask(&format!("/events/last?limit={limit}")).await?;
    Ok(last.last_events.into_iter().map(|event| event.get().to_owned()).collect())
}

async fn follow(server: &Server, args: &EventsArgs) -> anyhow::Result<Exit> {
    let path = if args.from_start { "/events/stream?from=start" } else { "/events/stream" };
    // Opened before the last events are asked for, so that none is lost between. What both have is shown once.
    let mut body = server.stream(path, None).await?;
    let mut shown: HashSet<String> = HashSet::new();
    if !args.from_start {
        let events = last(server, args.limit).await?;
        let lines: Vec<String> = events.iter().map(|event| line(event, args.ask.output)).collect();
        write(|out| lines.iter().try_for_each(|line| out.write_all(line.as_bytes())))?;
        shown.extend(events);
    }
    let mut parser = Parser::default();
    let (mut backoff, mut patience) = (BACKOFF.0, Patience::new(AWAY));
    loop {
        while let Some(piece) = sse::piece(&mut body).await {
            backoff = BACKOFF.0;
            patience.answered();
            parser.push(&piece);
            let mut lines = String::new();
            while let Some(message) = parser.next() {
                match message.event.as_str() {
                    "" if shown.remove(&message.data) => {}
                    "" => lines += &line(&message.data, args.ask.output),
                    "reset" => telemetry::say_to_people(
                        "the log does not go on where this was: it is another one, or has lost its beginning; from its start",
                    ),
                    _ => {}
                }
            }
            write(|out| out.write_all(lines.as_bytes()))?;
            if parser.is_too_large() {
                anyhow::bail!("{} sends an event that is larger than any of korch's", server.url());
            }
        }
        // Half a message is not read again: the stream goes on after the last whole one.
        let last_id = std::mem::take(&mut parser).last_id;
        parser.last_id.clone_from(&last_id);
        body = loop {
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
            match server.stream(path, Some(&last_id).filter(|id| !id.is_empty()).map(String::as_str)).await {
                Ok(body) => break body,
                Err(failure) => patience.failed(failure)?,
            }
        };
    }
}

/// Returns once whoever reads stdout has gone: `| head` has seen enough.
pub async fn unread() {
    let stdout = io::stdout();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        tokio::time::sleep(LISTENER).await;
        // Nothing is waited for: a pipe without a reader says so whether asked or not.
        let mut pipe = [PollFd::new(&stdout, PollFlags::empty())];
        if poll(&mut pipe, Some(&at_once)).is_ok() && pipe[0].revents().intersects(PollFlags::ERR) {
            return;
        }
    }
}

/// An event on a line of its own.
fn line(event: &str, output: Output) -> String {
    let Ok(parsed) = serde_json::from_str::<Value>(event) else { return String::new() };
    match output {
        Output::Json => format!("{}\n", compact_json(event)),
        Output::Human => format!("{}\n", human(&parsed, Timestamp::now()).trim_end()),
    }
}

/// Time, type, object, attempt, worker, and what else matters.
fn human(event: &Value, now: Timestamp) -> String {
    let text = |value: &Value| value.as_str().map(text::clean).unwrap_or_default();
    let number = |value: &Value| match value {
        Value::Number(number) => number.to_string(),
        Value::String(digits) => text::clean(digits),
        _ => String::new(),
    };
    let list = |value: &Value| {
        let of = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut ids: Vec<String> = of.iter().take(10).map(number).collect();
        if of.len() > ids.len() {
            ids.push(format!("and {} more", of.len() - ids.len()));
        }
        ids.join(", ")
    };
    let by = |name: String| if name.is_empty() { name } else { format!(" by {name}") };
    let kind = text(&event["event_type"]);
    let meta = &event["meta"];
    let at = text::short_time(event["event_datetime"].as_str().unwrap_or_default(), now);
    let run = text(&event["run_id"]);
    let details = match kind.as_str() {
        "RunRequested" => {
            let targets = list(&event["targets"]);
            let targets = if targets.is_empty() { "everything".into() } else { targets };
            let exclude = list(&event["exclude"]);
            let without = if exclude.is_empty() { exclude } else { format!(" without {exclude}") };
            format!("run {run}: {targets}{without}{}", by(text(&event["requested_by"])))
        }
        "RunPlanned" => {
            let objects = event["objects"].as_array().map_or(0, Vec::len) as u64;
            let (part, parts) =
                (event["part"].as_u64().unwrap_or(0) + 1, event["parts"].as_u64().unwrap_or(1));
            let of = if parts > 1 { format!(", part {part} of {parts}") } else { String::new() };
            format!("run {run}: {}{of}", text::counted(objects, "object", "objects"))
        }
        "RunCancelRequested" => format!("run {run}{}", by(text(&event["requested_by"]))),
        "RunFinished" => {
            let counts = &event["counts"];
            let count = |name: &str| counts[name].as_u64().unwrap_or(0);
            let reason = text(&event["reason"]);
            let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
            format!(
                "run {run} {}{reason}: {} loaded, {} failed, {} skipped in {}",
                text(&event["outcome"]),
                count("loaded"),
                count("failed"),
                count("skipped"),
                text::seconds(event["duration_seconds"].as_f64().unwrap_or(0.0))
            )
        }
        "OrchestratorElected" => format!("epoch {}", number(&event["epoch"])),
        "ObjectSkipped" => format!("because of {}", list(&meta["because"])),
        "ObjectAssigned" => text(&event["worker"]),
        "ObjectReady" => match text(&event["cause"]) {
            cause if cause.is_empty() => text(&meta["NomObjet"]),
            cause => format!("again: {cause}"),
        },
        "ObjectLoaded" => match meta["duration_seconds"].as_f64() {
            Some(took) => format!("{}  in {}", text(&meta["worker"]), text::seconds(took)),
            None => text(&meta["worker"]),
        },
        _ => format!("{}  {}", text(&meta["worker"]), text(&meta["error"])),
    };
    let object = number(&event["id_objet"]);
    if object.is_empty() {
        return format!("{at}  {kind:<19}  {details}");
    }
    let attempt = match event["attempt"].as_u64() {
        Some(attempt) => format!("#{attempt}"),
        None => String::new(),
    };
    format!("{at}  {kind:<19}  {object:>6} {attempt:<3} {details}")
}

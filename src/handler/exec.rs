//! Real work: a command of the user's, run once for each object.
//!
//! The command is one `sh` and whatever it starts: a process group. An attempt owns its group: in whatever way the
//! attempt ends (the command exits, its time is up, the future is dropped) nothing of the group outlives it. What is
//! meant to outlive it has to leave the group (`setsid`).
//!
//! Architecture invariant: the group is signalled only while its leader, `sh`, is not reaped. Until then its number
//! cannot be given to strangers, so a signal never meets any.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{FusedFuture, FutureExt, join3};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

pub use super::lines::STDERR_MAX_BYTES;
use super::lines::{Complaint, Line, Lines};
use super::{Failure, Handler, Outcome, RESULT_MAX_BYTES, Task, read_result};

/// The exit code that says: a failure, but try again (`EX_TEMPFAIL` of `sysexits.h`).
pub const EXIT_RETRY: i32 = 75;

/// Tells the command which parents' last good versions it is to use.
const DEGRADED: &str = "KORCH_DEGRADED";

/// How long the group has between the polite signal and the other one.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How long somebody else may hold the pipes after the command has exited.
const LINGER: Duration = Duration::from_secs(1);

/// How much is read from a pipe at once, in bytes.
const READ_BYTES: usize = 8 * 1024;

/// How often a pipe is looked into at last, which is enough for a full one: 64 KiB, and a turn of rest after each read.
const DRAIN_TURNS: usize = 2 * 64 * 1024 / READ_BYTES + 2;

/// How many commands may wait to be started.
const STARTS_MAX: usize = 64;

/// Runs `sh -c COMMAND` for each object, as section 3 of the contract says.
///
/// Exit 0 is loaded, [`EXIT_RETRY`] a failure worth another try, anything else a lasting failure. It keeps the time itself:
/// the group may clean up, and its last words go into the failure.
#[derive(Debug)]
pub struct Exec {
    command: String,
    starter: mpsc::Sender<Start>,
}

impl Exec {
    /// A handler that runs `command`. Fails where no thread can be had.
    pub fn new(command: impl Into<String>) -> io::Result<Exec> {
        let (starter, starts) = mpsc::channel(STARTS_MAX);
        std::thread::Builder::new().name("korch-exec".to_owned()).spawn(move || start_each(starts))?;
        Ok(Exec { command: command.into(), starter })
    }

    async fn start(&self, task: &Task) -> io::Result<Group> {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(&self.command)
            // korch's own secrets are no business of the work's.
            .env_remove("KORCH_KAFKA_PASSWORD")
            .env_remove("KORCH_API_TOKEN")
            .env_remove("KORCH_HTTP_TOKEN")
            .env_remove("KORCH_NOTIFY")
            .env_remove("KORCH_NOTIFY_TOKEN")
            // Whoever started korch may have it, and then it says nothing of this object.
            .env_remove(DEGRADED)
            .env("KORCH_OBJECT_ID", task.object.to_string())
            .env("KORCH_STAGE", task.stage.name())
            .env("KORCH_RUN_ID", &task.run_id)
            .env("KORCH_ATTEMPT", task.attempt.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(degraded) = task.degraded_list() {
            command.env(DEGRADED, degraded);
        }
        #[cfg(target_os = "linux")]
        die_with_korch(&mut command);

        let gone = || io::Error::other("the thread that starts commands is gone");
        let (reply, started) = oneshot::channel();
        let start = Start { command, runtime: Handle::current(), reply };
        self.starter.send(start).await.map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }
}

#[async_trait]
impl Handler for Exec {
    async fn handle(&self, task: &Task) -> Outcome {
        let mut group = self.start(task).await.map_err(|error| cannot_start(&error))?;
        let mut stdout = Stdout { lines: Lines::new(RESULT_MAX_BYTES), task };
        let mut stderr = Complaint::new(task);
        let timed_out = {
            let pipes = join3(
                feed(group.child.stdin.take(), task.entry.clone()),
                pump(group.child.stdout.take(), &mut stdout),
                pump(group.child.stderr.take(), &mut stderr),
            );
            run_to_end(task, &mut group, pipes).await
        };
        let status = group.end().await;
        stdout.finish();
        stderr.finish();

        let mut failure = match (timed_out, status) {
            (Some(timeout), _) => Failure::late(timeout),
            (None, Ok(status)) if status.success() => return Ok(stdout.result()),
            (None, Ok(status)) => {
                let reason = stderr.reason().map_or_else(String::new, |reason| format!(": {reason}"));
                let retryable = status.code() == Some(EXIT_RETRY);
                Failure { error: format!("{}{reason}", describe(status)), retryable, stderr: None }
            }
            (None, Err(error)) => Failure::passing(format!("cannot learn how the command ended: {error}")),
        };
        failure.stderr = stderr.text();
        Err(failure)
    }

    fn keeps_time(&self) -> bool {
        true
    }
}

/// Waits until the command has exited and its pipes are at their end, within the limits. Tells the timeout if it
/// was reached.
async fn run_to_end<T>(task: &Task, group: &mut Group, pipes: impl Future<Output = T>) -> Option<Duration> {
    let timeout = task.timeout;
    let mut pipes = pin!(pipes.fuse());
    let timed_out = {
        let mut exited = pin!(group.exited());
        let mut time_is_up = pin!(tokio::time::sleep(timeout.unwrap_or(Duration::MAX)));
        loop {
            tokio::select! {
                biased;
                () = &mut exited => break None,
                () = &mut time_is_up, if timeout.is_some() => break timeout,
                _ = &mut pipes, if !pipes.is_terminated() => {}
            }
        }
    };
    if timed_out.is_some() {
        group.signal(Signal::TERM);
    }
    // Past its time the group may clean up. After an exit there is the rest to be read, which is there already, unless
    // a process that the command left behind holds the pipes open.
    let grace = if timed_out.is_some() { TERM_GRACE } else { LINGER };
    let rest = async {
        group.exited().await;
        if !pipes.is_terminated() {
            pipes.as_mut().await;
        }
    };
    if tokio::time::timeout(grace, rest).await.is_err() {
        if timed_out.is_none() {
            let Task { object, stage, run_id, attempt, .. } = task;
            tracing::warn!(
                id_objet = object.0,
                run_id,
                attempt,
                %stage,
                "the command left processes behind that hold its output: they are killed"
            );
        }
        group.signal(Signal::KILL);
        // What is in the pipes is read still, but not waited for: on a busy machine the result may be among it.
        for _ in 0..DRAIN_TURNS {
            if pipes.is_terminated() {
                break;
            }
            pipes.as_mut().now_or_never();
            tokio::task::yield_now().await;
        }
    }
    timed_out
}

/// Writes the entry and closes the pipe. Nobody has to read it: errors are of no interest.
async fn feed(stdin: Option<impl AsyncWrite + Unpin>, entry: Option<Arc<str>>) {
    let Some(mut stdin) = stdin else { return };
    let entry = entry.as_deref().unwrap_or("null");
    if stdin.write_all(entry.as_bytes()).await.is_ok() {
        stdin.write_all(b"\n").await.ok();
    }
}

/// Who takes what a pipe brings.
trait Sink {
    fn push(&mut self, bytes: &[u8]);
}

/// Reads a pipe to its end.
async fn pump(pipe: Option<impl AsyncRead + Unpin>, sink: &mut impl Sink) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; READ_BYTES];
    // An error is an end as well: what counts is how the command exits.
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        sink.push(&chunk[..count]);
        // A command may print faster than lines can be logged: the others on this thread shall have their turn.
        tokio::task::yield_now().await;
    }
}

/// Logs the lines of stdout and keeps the last one: it may be the result.
struct Stdout<'a> {
    lines: Lines,
    task: &'a Task,
}

impl Sink for Stdout<'_> {
    fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes, &mut log_stdout(self.task));
    }
}

impl Stdout<'_> {
    fn finish(&mut self) {
        self.lines.finish(&mut log_stdout(self.task));
    }

    fn result(&self) -> Option<Box<serde_json::value::RawValue>> {
        let line = self.lines.last()?;
        let result = if line.len > line.kept.len() && line.kept.trim_ascii_start().starts_with(b"{") {
            Err(format!("it is larger than {RESULT_MAX_BYTES} bytes"))
        } else {
            read_result(line.kept)
        };
        result.unwrap_or_else(|why| {
            let Task { object, stage, run_id, attempt, .. } = self.task;
            tracing::warn!(id_objet = object.0, run_id, attempt, %stage, "the command's result is ignored: {why}");
            None
        })
    }
}

impl Sink for Complaint<'_> {
    fn push(&mut self, bytes: &[u8]) {
        Complaint::push(self, bytes);
    }
}

fn log_stdout(task: &Task) -> impl FnMut(Line<'_>) {
    let Task { object, stage, run_id, attempt, .. } = task;
    move |line| tracing::info!(id_objet = object.0, run_id, attempt, %stage, "{}", line.shown())
}

fn cannot_start(error: &io::Error) -> Failure {
    let retryable = matches!(
        Errno::from_io_error(error),
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE)
    );
    let hint = if error.kind() == io::ErrorKind::NotFound { " (is there an sh on the PATH?)" } else { "" };
    Failure { error: format!("cannot start sh for the command: {error}{hint}"), retryable, stderr: None }
}

/// How a command ended that did not end well.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match signal_name(number) {
            Some(name) => format!("ended by signal {number} ({name})"),
            None => format!("ended by signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}

fn signal_name(number: i32) -> Option<&'static str> {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    names.into_iter().find(|(signal, _)| signal.as_raw() == number).map(|(_, name)| name)
}

/// A command that runs, with everything it started. Dropping it kills them all.
#[derive(Debug)]
struct Group {
    child: Child,
    /// The group's number, which is that of its leader. None once the leader may be reaped.
    id: Option<Pid>,
    /// Says that some child of this process changed its state.
    changes: tokio::signal::unix::Signal,
}

impl Group {
    fn start(mut command: Command) -> io::Result<Group> {
        // First, so that no change is missed and so that nothing can fail once the command runs.
        let changes = signal(SignalKind::child())?;
        let child = command.spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Group { child, id, changes })
    }

    /// Waits until the leader has exited, and leaves it unreaped.
    async fn exited(&mut self) {
        let Some(id) = self.id else { return };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while let Ok(None) | Err(Errno::INTR) = rustix::process::waitid(WaitId::Pid(id), options) {
            if self.changes.recv().await.is_none() {
                return;
            }
        }
    }

    /// Signals every process of the group.
    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            // It fails where nobody is left, or where a process took another user's rights: nothing can be done then.
            rustix::process::kill_process_group(id, signal).ok();
        }
    }

    /// Kills what is left of the group and tells how its leader ended.
    async fn end(mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::KILL);
        self.id = None;
        self.child.wait().await
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A command to be started, in a runtime that watches over it.
#[derive(Debug)]
struct Start {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Group>>,
}

/// Starts commands until nobody can ask for any: the life of a thread.
///
/// A thread of its own, for two reasons. Linux ends a child with the *thread* that started it ([`die_with_korch`]), and
/// a thread of the runtime may end at any time (after `block_in_place`, say). And a fork of a large process takes
/// milliseconds, which a thread of the runtime has not.
fn start_each(mut starts: mpsc::Receiver<Start>) {
    while let Some(Start { command, runtime, reply }) = starts.blocking_recv() {
        let _inside = runtime.enter();
        // Where nobody waits any more the group comes back, is dropped, and thereby killed.
        reply.send(Group::start(command)).ok();
    }
}

/// Has the kernel kill `sh` when korch dies, even by SIGKILL.
///
/// It concerns the one process that is started here and whatever it replaces itself with (`exec`), not what it starts
/// in turn: the kernel offers no such thing for a group.
#[cfg(target_os = "linux")]
fn die_with_korch(command: &mut Command) {
    let korch = rustix::process::getpid();
    let before_exec = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // Had korch died before the line above, no signal would ever come.
        if rustix::process::getppid() == Some(korch) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    #[expect(unsafe_code, reason = "between fork and exec there is no other way to run code in the child")]
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes two bare system calls
    // (prctl, getppid), and neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(before_exec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_described_with_the_name_of_its_signal() {
        for (raw, expected) in [
            (3 << 8, "exit code 3"),
            (9, "ended by signal 9 (SIGKILL)"),
            (15, "ended by signal 15 (SIGTERM)"),
            (11 | 0x80, "ended by signal 11 (SIGSEGV)"),
            (40, "ended by signal 40"),
        ] {
            assert_eq!(describe(ExitStatus::from_raw(raw)), expected);
        }
    }

    #[test]
    fn what_the_machine_lacks_may_be_there_later_but_a_missing_shell_will_not() {
        let missing = cannot_start(&Errno::NOENT.into());
        assert!(!missing.retryable);
        assert!(missing.error.contains("is there an sh on the PATH?"), "{}", missing.error);
        assert!(cannot_start(&Errno::AGAIN.into()).retryable);
        assert!(!cannot_start(&io::Error::other("no")).retryable);
    }
}

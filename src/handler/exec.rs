//! Real work: a command for each object, in a process group of its own.
//!
//! The entry stands on its stdin, its output becomes log lines. Whatever ends the attempt ends the whole group: its time
//! limit, a dropped future, or on Linux the end of korch itself.

use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tracing::{info, warn};

use super::{Failure, Handler, Outcome, Task};

/// The exit code of a failure that is worth another try (`EX_TEMPFAIL` of sysexits.h).
const TEMPORARY: i32 = 75;
/// Between SIGTERM and SIGKILL at the time limit.
const GRACE: Duration = Duration::from_secs(2);
/// Once the command has ended, its output may still be held open by a process it left behind: for so long it is read on.
const LINGER: Duration = Duration::from_secs(1);
/// A line of output is cut here.
const LINE_BYTES: usize = 16 << 10;
/// So much of the end of stderr goes into a failure.
const STDERR_BYTES: usize = 4 << 10;
/// A result larger than this is no result.
const RESULT_BYTES: usize = 64 << 10;

/// Runs a command for each object.
#[derive(Clone, Debug)]
pub struct Exec {
    command: String,
    timeout: Option<Duration>,
}

impl Exec {
    /// `sh -c command`, ended after `timeout` if there is one.
    pub fn new(command: String, timeout: Option<Duration>) -> Exec {
        Exec { command, timeout }
    }

    fn spawn(&self, task: &Task) -> std::io::Result<Child> {
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.command])
            .env("KORCH_OBJECT_ID", task.object.to_string())
            .env("KORCH_STAGE", task.stage.name())
            .env("KORCH_RUN_ID", &task.run_id)
            .env("KORCH_ATTEMPT", task.attempt.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        #[cfg(target_os = "linux")]
        end_with_us(&mut command);
        command.spawn()
    }
}

/// Has the kernel end the command when the thread that started it ends: a killed korch leaves nothing behind that would
/// run beside the next attempt. The threads of the runtime last as long as the process.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "pre_exec runs between fork and exec, where only async-signal-safe calls are allowed"
)]
fn end_with_us(command: &mut Command) {
    // SAFETY: the closure makes a single system call (prctl), allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
        });
    }
}

/// The process group of a command; dropped, it is killed.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It may have ended by itself: then there is nobody to end.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send(Signal::KILL);
    }
}

/// What a stream of output left.
#[derive(Default)]
struct Output {
    /// The last line that is not empty.
    last: Vec<u8>,
    /// The end of everything.
    tail: VecDeque<u8>,
}

#[async_trait]
impl Handler for Exec {
    async fn handle(&self, task: &Task) -> Outcome {
        let mut child = self.spawn(task).map_err(|error| Failure {
            error: format!("the command cannot be started: {error}"),
            retryable: true,
            stderr: None,
        })?;
        let group = Group::of(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut out, mut err) = (Output::default(), Output::default());
        let status = {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A command that does not read its stdin closes it: that is its right.
                    let _ = stdin.write_all(task.entry.as_deref().unwrap_or("null").as_bytes()).await;
                }
            };
            let output = async {
                tokio::join!(
                    feed,
                    follow(stdout, &mut out, task, false),
                    follow(stderr, &mut err, task, true)
                );
            };
            tokio::pin!(output);
            let ended = async {
                tokio::select! {
                    // Output that ends early is no end: the command may have closed it.
                    () = &mut output => child.wait().await,
                    status = child.wait() => {
                        let _ = tokio::time::timeout(LINGER, &mut output).await;
                        status
                    }
                }
            };
            match self.timeout {
                None => Ok(ended.await),
                Some(limit) => tokio::time::timeout(limit, ended).await,
            }
        };
        let stderr = err.text();
        let Ok(status) = status else {
            group.send(Signal::TERM);
            let _ = tokio::time::timeout(GRACE, child.wait()).await;
            let limit = self.timeout.unwrap_or_default();
            // A slow source may be faster the next time.
            return Err(Failure { error: format!("timeout after {limit:?}"), retryable: true, stderr });
        };
        match status {
            Ok(status) if status.success() => Ok(result(&out.last, task)),
            Ok(status) => Err(failure(status, &err.last, stderr)),
            Err(error) => {
                Err(Failure { error: format!("the command was lost: {error}"), retryable: true, stderr })
            }
        }
    }
}

fn failure(status: ExitStatus, last_line: &[u8], stderr: Option<String>) -> Failure {
    use std::os::unix::process::ExitStatusExt;
    let mut error = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            let name = match signal {
                6 => " (SIGABRT)",
                9 => " (SIGKILL)",
                11 => " (SIGSEGV)",
                15 => " (SIGTERM)",
                _ => "",
            };
            format!("ended by signal {signal}{name}")
        }
        (None, None) => "ended in an unknown way".into(),
    };
    if !last_line.is_empty() {
        error = format!("{error}: {}", String::from_utf8_lossy(last_line));
    }
    Failure { error, retryable: status.code() == Some(TEMPORARY), stderr }
}

/// The JSON object that the last line of stdout is, if it is one.
fn result(last_line: &[u8], task: &Task) -> Option<Box<RawValue>> {
    if !last_line.starts_with(b"{") {
        return None;
    }
    if last_line.len() >= RESULT_BYTES {
        warn!(id_objet = task.object.0, "the result is larger than {RESULT_BYTES} bytes: left out");
        return None;
    }
    serde_json::from_slice(last_line).ok()
}

/// Reads a stream to its end: every line becomes a log line, cut where it is too long.
async fn follow(stream: Option<impl AsyncRead + Unpin>, output: &mut Output, task: &Task, is_stderr: bool) {
    let Some(mut stream) = stream else { return };
    let mut chunk = vec![0; 16 << 10];
    let mut line: Vec<u8> = Vec::new();
    loop {
        let read = match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => &chunk[..read],
        };
        if is_stderr {
            output.tail.extend(read);
            let extra = output.tail.len().saturating_sub(STDERR_BYTES);
            output.tail.drain(..extra);
        }
        let mut parts = read.split(|&byte| byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = RESULT_BYTES.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            if parts.peek().is_some() {
                output.line(std::mem::take(&mut line), task, is_stderr);
            }
        }
    }
    output.line(line, task, is_stderr);
}

impl Output {
    fn line(&mut self, mut line: Vec<u8>, task: &Task, is_stderr: bool) {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let text = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES)]);
        let (id_objet, run_id, attempt, stage) =
            (task.object.0, &task.run_id, task.attempt, task.stage.name());
        if is_stderr {
            warn!(producer = stage, id_objet, run_id, attempt, "{text}");
        } else {
            info!(producer = stage, id_objet, run_id, attempt, "{text}");
        }
        self.last = line;
    }

    fn text(&self) -> Option<String> {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        (!tail.is_empty()).then(|| String::from_utf8_lossy(&tail).into_owned())
    }
}

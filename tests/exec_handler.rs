//! `--exec` with real processes: what a command is given, how its end is read, and that nothing outlives an attempt.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use korch::domain::object::{ObjectId, Stage};
use korch::handler::exec::{Exec, STDERR_MAX_BYTES};
use korch::handler::timed::Timed;
use korch::handler::{Failure, Handler, Outcome, RESULT_MAX_BYTES, Task};
use rustix::process::Pid;

/// How long anything may take before a test gives up. Nothing takes as long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

fn task() -> Task {
    Task {
        object: ObjectId(2001),
        stage: Stage::Standardize,
        run_id: "0199-run".to_owned(),
        attempt: 3,
        entry: Some(Arc::from(r#"{"IdObjet": 2001, "NomObjet": "Été"}"#)),
        timeout: None,
        degraded: Vec::new(),
    }
}

async fn run_task(command: &str, timeout: Option<Duration>, task: &Task) -> Outcome {
    let exec = Timed::new(Arc::new(Exec::new(command).unwrap()), timeout);
    tokio::time::timeout(PATIENCE, exec.handle(task)).await.expect("the attempt ends")
}

async fn run(command: &str) -> Outcome {
    run_task(command, None, &task()).await
}

/// The result as text of an attempt that loaded.
#[track_caller]
fn loaded(outcome: Outcome) -> Option<String> {
    outcome.expect("loaded").map(|raw| raw.get().to_owned())
}

fn failure(error: &str, retryable: bool, stderr: Option<&str>) -> Failure {
    Failure { error: error.to_owned(), retryable, stderr: stderr.map(str::to_owned) }
}

/// Asks again and again, until the deadline, for what is to come.
async fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The process ids in a file, once there are `count` of them.
async fn pids(file: &Path, count: usize) -> Vec<Pid> {
    wait_for("a process", || {
        let text = std::fs::read_to_string(file).ok()?;
        let whole = text.strip_suffix('\n')?;
        let pids: Vec<Pid> =
            whole.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();
        (pids.len() == count).then_some(pids)
    })
    .await
}

/// Whether no process runs under this number. One that is dead and not yet buried by its parent does not run.
fn is_gone(pid: Pid) -> bool {
    let dead = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])));
    dead || rustix::process::test_kill_process(pid).is_err()
}

async fn all_gone(pids: Vec<Pid>) {
    for pid in pids {
        wait_for("the end of a process", || is_gone(pid).then_some(())).await;
    }
}

/// Runs a future until it has made some progress that `until` sees, then drops it.
async fn drop_once<T>(work: impl Future<Output = T>, until: impl Future<Output = Vec<Pid>>) -> Vec<Pid> {
    tokio::select! {
        _ = work => panic!("it ended before it was dropped"),
        pids = until => pids,
    }
}

#[tokio::test]
async fn a_command_sees_the_task_and_its_last_line_is_the_result() {
    let command = r#"
        echo starting
        printf '{"id":"%s","stage":"%s","run":"%s","attempt":"%s","entry":%s}\n\n' \
            "$KORCH_OBJECT_ID" "$KORCH_STAGE" "$KORCH_RUN_ID" "$KORCH_ATTEMPT" "$(cat)""#;
    let expected = r#"{"id":"2001","stage":"standardize","run":"0199-run","attempt":"3","entry":{"IdObjet": 2001, "NomObjet": "Été"}}"#;
    assert_eq!(loaded(run(command).await).as_deref(), Some(expected));

    let without_entry = Task { entry: None, ..task() };
    let outcome = run_task(r#"read -r entry && echo "{\"entry\":$entry}""#, None, &without_entry).await;
    assert_eq!(loaded(outcome).as_deref(), Some(r#"{"entry":null}"#));

    let says_degraded = r#"echo "{\"degraded\":\"${KORCH_DEGRADED-nothing}\"}""#;
    assert_eq!(loaded(run(says_degraded).await).as_deref(), Some(r#"{"degraded":"nothing"}"#));
    let degraded = Task { degraded: vec![ObjectId(2005), ObjectId(2006)], ..task() };
    let outcome = run_task(says_degraded, None, &degraded).await;
    assert_eq!(loaded(outcome).as_deref(), Some(r#"{"degraded":"2005,2006"}"#));
}

#[tokio::test]
async fn a_last_line_that_is_no_object_is_no_result() {
    for command in ["true", "echo loaded", "echo '{}'; echo done", "echo '[1]'", "echo '{}' >&2"] {
        assert_eq!(loaded(run(command).await), None, "{command}");
    }
    // A line break is not needed.
    assert_eq!(loaded(run("printf '{}'").await).as_deref(), Some("{}"));
}

#[tokio::test]
async fn a_result_has_a_limit_and_the_load_is_none_the_worse_for_it() {
    let object = |size: usize| {
        let filler = size - r#"{"a":""}"#.len();
        format!(r#"printf '{{"a":"'; head -c {filler} /dev/zero | tr '\0' x; echo '"}}'"#)
    };
    assert_eq!(loaded(run(&object(RESULT_MAX_BYTES)).await).unwrap().len(), RESULT_MAX_BYTES);
    assert_eq!(loaded(run(&object(RESULT_MAX_BYTES + 1)).await), None);
}

#[tokio::test]
async fn exit_75_is_worth_another_try_and_nothing_else_is() {
    assert_eq!(run("exit 75").await.unwrap_err(), failure("exit code 75", true, None));
    assert_eq!(run("exit 1").await.unwrap_err(), failure("exit code 1", false, None));
    assert_eq!(
        run("echo '{}'; echo first >&2; echo 'no such table' >&2; echo >&2; exit 3").await.unwrap_err(),
        failure("exit code 3: no such table", false, Some("first\nno such table")),
    );
    assert_eq!(run("kill -9 $$").await.unwrap_err(), failure("ended by signal 9 (SIGKILL)", false, None));
    assert_eq!(run("kill -TERM $$").await.unwrap_err(), failure("ended by signal 15 (SIGTERM)", false, None));
}

#[tokio::test]
async fn a_command_that_does_not_exist_fails_with_what_the_shell_says() {
    let failure = run("korch-no-such-command").await.unwrap_err();
    assert!(failure.error.starts_with("exit code 127: "), "{failure:?}");
    assert!(failure.error.contains("korch-no-such-command"), "{failure:?}");
}

#[tokio::test]
async fn a_command_that_cannot_start_is_a_failure() {
    let failure = run("echo \0").await.unwrap_err();
    assert!(failure.error.starts_with("cannot start sh for the command: "), "{failure:?}");
    assert!(!failure.retryable);
}

#[tokio::test]
async fn only_the_end_of_stderr_is_carried() {
    let failure = run("seq 1 100000 >&2; exit 1").await.unwrap_err();
    assert_eq!(failure.error, "exit code 1: 100000");
    let stderr = failure.stderr.unwrap();
    assert!(stderr.ends_with("99999\n100000"), "{stderr}");
    assert!((STDERR_MAX_BYTES - 8..=STDERR_MAX_BYTES).contains(&stderr.len()), "{}", stderr.len());
}

#[tokio::test]
async fn whatever_is_printed_the_attempt_ends_well() {
    let flood = "yes | head -c 20000000; yes error | head -c 20000000 >&2; echo '{\"rows\":1}'";
    assert_eq!(loaded(run(flood).await).as_deref(), Some(r#"{"rows":1}"#));

    let endless_line = "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2; exit 1";
    let failure = run(endless_line).await.unwrap_err();
    assert!(failure.error.len() < 1024, "{}", failure.error.len());
    assert_eq!(failure.stderr.unwrap().len(), STDERR_MAX_BYTES);

    let not_text = r"printf 'caf\351 \377\376\n' >&2; printf 'caf\351\n'; exit 1";
    let failure = run(not_text).await.unwrap_err();
    assert_eq!(failure.error, "exit code 1: caf\u{fffd} \u{fffd}\u{fffd}");
}

#[tokio::test]
async fn nobody_has_to_read_the_entry() {
    let large = Task { entry: Some(Arc::from(format!("[{}]", "1,".repeat(100_000)))), ..task() };
    assert_eq!(loaded(run_task("true", None, &large).await), None);
    assert_eq!(loaded(run_task("exec <&-; echo '{}'", None, &large).await).as_deref(), Some("{}"));
    assert_eq!(run_task("exit 4", None, &large).await.unwrap_err().error, "exit code 4");
    // And who reads it gets all of it.
    let outcome = run_task(r#"printf '{"bytes":%d}' $(wc -c)"#, None, &large).await;
    assert_eq!(loaded(outcome).as_deref(), Some(r#"{"bytes":200003}"#));
}

/// Runs a command past its timeout. It writes its pids to a file once it is where the test wants it; on a machine too
/// busy for that a longer timeout is tried. Gives the failure, how long after the
/// timeout it came, and the pids.
async fn run_past_timeout(command: impl Fn(&str) -> String) -> (Failure, Duration, Vec<Pid>) {
    for timeout in [500, 4_000, 16_000].map(Duration::from_millis) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pids");
        let start = Instant::now();
        let outcome = run_task(&command(file.to_str().unwrap()), Some(timeout), &task()).await;
        let took = start.elapsed();
        if std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')) {
            let failure = outcome.unwrap_err();
            assert_eq!(failure.error, format!("timeout after {timeout:?}"));
            assert!(failure.retryable);
            return (failure, took - timeout, pids(&file, 2).await);
        }
    }
    panic!("the command does not get going");
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group() {
    let command =
        |file: &str| format!("echo working >&2; sleep 1000 & echo $$ $! > {file}; wait; echo never");
    let (failure, _, pids) = run_past_timeout(command).await;
    assert_eq!(failure.stderr.as_deref(), Some("working"));
    all_gone(pids).await;
}

#[tokio::test]
async fn a_timeout_lets_the_group_clean_up_first() {
    let command =
        |file: &str| format!("trap 'echo cleaned >&2; exit 0' TERM; sleep 1000 & echo $$ $! > {file}; wait");
    let (failure, _, pids) = run_past_timeout(command).await;
    assert_eq!(failure.stderr.as_deref(), Some("cleaned"));
    all_gone(pids).await;
}

#[tokio::test]
async fn a_group_that_ignores_the_polite_signal_is_killed_two_seconds_later() {
    let command = |file: &str| format!("trap '' TERM; sleep 1000 & echo $$ $! > {file}; wait");
    let (_, beyond, pids) = run_past_timeout(command).await;
    assert!(beyond >= Duration::from_secs(2), "{beyond:?}");
    all_gone(pids).await;
}

#[tokio::test]
async fn a_task_s_own_timeout_comes_first() {
    let hurried = Task { timeout: Some(Duration::from_millis(50)), ..task() };
    let failure = run_task("sleep 1000", Some(PATIENCE), &hurried).await.unwrap_err();
    assert_eq!((failure.error.as_str(), failure.retryable), ("timeout after 50ms", true));
}

#[tokio::test]
async fn an_end_in_time_is_no_timeout() {
    assert_eq!(loaded(run_task("echo '{}'", Some(PATIENCE), &task()).await).as_deref(), Some("{}"));
}

#[tokio::test]
async fn dropping_the_attempt_kills_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let command = format!("trap '' TERM; sleep 1000 & echo $$ $! > {}; wait", file.to_str().unwrap());
    let exec = Exec::new(command).unwrap();
    let task = task();
    let pids = drop_once(exec.handle(&task), pids(&file, 2)).await;
    all_gone(pids).await;
}

#[tokio::test]
async fn dropping_the_attempt_while_its_command_starts_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let command = format!("echo $$ >> {}; exec sleep 1000", file.to_str().unwrap());
    let exec = Exec::new(command).unwrap();
    for turns in 0..50 {
        let task = task();
        let mut attempt = exec.handle(&task);
        for _ in 0..turns {
            assert!((&mut attempt).now_or_never().is_none(), "it runs");
            tokio::task::yield_now().await;
        }
    }
    // A later start is served after all earlier ones, and by then each of them is dead or dying.
    let task = task();
    let count = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
    let before = count();
    let last = drop_once(exec.handle(&task), async {
        wait_for("the last command", || (count() > before).then_some(())).await;
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
    })
    .await;
    all_gone(last).await;
}

#[tokio::test]
async fn who_lingers_after_the_command_is_ended_and_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let command = format!("sleep 1000 & echo $! > {}; echo '{{\"rows\":1}}'", file.to_str().unwrap());
    assert_eq!(loaded(run(&command).await).as_deref(), Some(r#"{"rows":1}"#));
    all_gone(pids(&file, 1).await).await;

    // The same for one that holds no pipe.
    let silent = dir.path().join("silent");
    let command = format!("sleep 1000 >/dev/null 2>&1 & echo $! > {}", silent.to_str().unwrap());
    assert_eq!(loaded(run(&command).await), None);
    all_gone(pids(&silent, 1).await).await;
}

#[tokio::test]
async fn a_daemon_that_left_the_group_with_the_pipes_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let command = format!(
        "setsid sh -c 'echo $$ > {0}; exec sleep 1000' & until test -s {0}; do :; done; echo '{{}}'",
        file.to_str().unwrap()
    );
    assert_eq!(loaded(run(&command).await).as_deref(), Some("{}"));
    let daemon = pids(&file, 1).await;
    assert!(!is_gone(daemon[0]), "what left the group is left alone");
    rustix::process::kill_process(daemon[0], rustix::process::Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attempts_at_once_do_not_meet() {
    let exec =
        Arc::new(Exec::new(r#"echo "{\"id\":$KORCH_OBJECT_ID}"; exit $((KORCH_OBJECT_ID % 2))"#).unwrap());
    let attempts: Vec<_> = (3000..3100)
        .map(|id| {
            let exec = Arc::clone(&exec);
            tokio::spawn(async move { exec.handle(&Task { object: ObjectId(id), ..task() }).await })
        })
        .collect();
    for (id, attempt) in (3000..).zip(attempts) {
        let outcome = tokio::time::timeout(PATIENCE, attempt).await.unwrap().unwrap();
        match outcome {
            Ok(result) => assert_eq!(result.unwrap().get(), format!(r#"{{"id":{id}}}"#)),
            Err(failed) => assert_eq!((id % 2, failed.error.as_str()), (1, "exit code 1")),
        }
    }
}

/// What dies in the test after it: a process of its own that runs a command until it is killed.
#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "a part of the test after it"]
async fn victim() {
    if let Ok(file) = std::env::var("KORCH_TEST_VICTIM") {
        run(&format!("echo $$ > {file}; exec sleep 1000")).await.ok();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_dies_with_korch_even_by_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let mut korch = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored"])
        .env("KORCH_TEST_VICTIM", &file)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let command = pids(&file, 1).await;
    assert!(!is_gone(command[0]));
    korch.kill().unwrap();
    korch.wait().unwrap();
    all_gone(command).await;
}

/// Linux ends a child with the thread that started it: that must not be the one an attempt happens to begin on.
#[test]
fn a_command_outlives_the_thread_that_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let started = dir.path().join("pids");
    let command = format!(
        "echo $$ > {}; until test -e {}; do sleep 0.01; done; echo '{{}}'",
        started.to_str().unwrap(),
        go.to_str().unwrap()
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let exec: Arc<Exec> = Arc::new(Exec::new(command).unwrap());
    let task = task();
    let mut attempt = Box::pin(async move { exec.handle(&task).await });
    // Another thread begins the attempt and ends.
    let handle = runtime.handle().clone();
    let mut attempt = std::thread::spawn(move || {
        handle.block_on(async { drop_nothing(&mut attempt, pids(&started, 1)).await });
        attempt
    })
    .join()
    .unwrap();
    std::fs::write(go, "").unwrap();
    let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, &mut attempt).await.unwrap() });
    assert_eq!(loaded(outcome).as_deref(), Some("{}"));
}

/// Runs a future until `until` is done, and leaves it as it is then.
async fn drop_nothing<T>(
    work: &mut (impl Future<Output = T> + Unpin),
    until: impl Future<Output = Vec<Pid>>,
) {
    tokio::select! {
        _ = work => panic!("it ended too soon"),
        _ = until => {}
    }
}

//! What was found, as one table.

use std::io::{self, BufWriter, IsTerminal, Write};

use super::{Finding, State};
use crate::cli::Output;
use crate::client::text::{clean, counted};

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// Writes the findings to stdout.
pub(super) fn write(findings: &[Finding], output: Output) -> io::Result<()> {
    let stdout = io::stdout().lock();
    let colours = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut out = BufWriter::new(stdout);
    match output {
        Output::Json => {
            serde_json::to_writer(&mut out, &serde_json::json!({ "findings": findings }))?;
            writeln!(out)?;
        }
        Output::Human => table(&mut out, findings, colours)?,
    }
    out.flush()
}

fn table(out: &mut dyn Write, findings: &[Finding], colours: bool) -> io::Result<()> {
    let widest = |text: fn(&Finding) -> &str| {
        findings.iter().map(|finding| text(finding).chars().count()).max().unwrap_or(0)
    };
    let (parts, checks) = (widest(|finding| finding.part), widest(|finding| &finding.check));
    for finding in findings {
        let (word, colour) = match finding.state {
            State::Ok => ("ok  ", GREEN),
            State::Warn => ("warn", YELLOW),
            State::Fail => ("FAIL", RED),
        };
        let word = if colours { format!("{colour}{word}{PLAIN}") } else { word.into() };
        let (part, check, found) = (finding.part, clean(&finding.check), clean(&finding.found));
        writeln!(out, "{word}  {part:<parts$}  {check:<checks$}  {found}")?;
        if let Some(to_do) = &finding.to_do {
            writeln!(out, "      {:parts$}  → {to_do}", "")?;
        }
    }
    let count = |state: State| findings.iter().filter(|finding| finding.state == state).count() as u64;
    writeln!(
        out,
        "{}: {} well, {}, {}",
        counted(findings.len() as u64, "check", "checks"),
        count(State::Ok),
        counted(count(State::Warn), "warning", "warnings"),
        counted(count(State::Fail), "failure", "failures"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_says_what_to_do() {
        let finding = |part, check: &str, state, found: &str, to_do: Option<&str>| Finding {
            part,
            check: check.into(),
            state,
            found: found.into(),
            to_do: to_do.map(str::to_owned),
        };
        let findings = [
            finding("kafka", "kafka:9092", State::Ok, "answers", None),
            finding("loki", "log lines", State::Fail, "no\u{1b}[2J\nline", Some("start a run")),
        ];
        let mut out = Vec::new();
        table(&mut out, &findings, false).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ok    kafka  kafka:9092  answers\n\
             FAIL  loki   log lines   no [2J line\n             → start a run\n\
             2 checks: 1 well, 0 warnings, 1 failure\n"
        );
    }
}

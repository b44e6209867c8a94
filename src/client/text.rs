//! How answers are written for people: times, durations, tables.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A duration as one says it.
pub fn seconds(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 9.995 {
        return format!("{seconds:.2} s");
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not negative")]
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match whole {
        0..3600 => format!("{minutes} min {} s", whole % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// An instant of the API in local time, to the second.
pub fn time(text: &str) -> String {
    format_time(text, "%Y-%m-%d %H:%M:%S")
}

/// An instant of the API in local time, in 14 columns: with milliseconds if it is of today, with month and day if not.
pub fn short_time(text: &str, now: Timestamp) -> String {
    let zone = TimeZone::system();
    let today = now.to_zoned_datetime(zone.clone()).date();
    match text.parse::<Timestamp>().map(|at| at.to_zoned_datetime(zone)) {
        Ok(at) if at.date() == today => format!("{:<14}", at.strftime("%H:%M:%S%.3f").to_string()),
        _ => format!("{:<14}", format_time(text, "%m-%d %H:%M:%S")),
    }
}

fn format_time(text: &str, format: &str) -> String {
    // What is no instant is shown as it is.
    text.parse::<Timestamp>().map_or_else(
        |_| clean(text),
        |at| at.to_zoned_datetime(TimeZone::system()).strftime(format).to_string(),
    )
}

/// How long ago an instant of the API is, by this machine's clock.
pub fn ago(text: &str, now: Timestamp) -> Option<f64> {
    let at: Timestamp = text.parse().ok()?;
    Some(now.duration_since(at).as_secs_f64().max(0.0))
}

/// An instant of the API that is still to come, in local time to the minute, or to the second where it is near, and how long
/// that is from now: `03:12 (in 4 min)`.
pub fn about(text: &str, now: Timestamp) -> String {
    let Ok(at) = text.parse::<Timestamp>() else { return clean(text) };
    let left = at.duration_since(now).as_secs_f64();
    let (zone, format) = (TimeZone::system(), if left < 120.0 { "%H:%M:%S" } else { "%H:%M" });
    let (local, today) = (at.to_zoned_datetime(zone.clone()), now.to_zoned_datetime(zone).date());
    let day = if local.date() == today { String::new() } else { local.strftime("%m-%d ").to_string() };
    let left = match left {
        ..0.5 => return format!("{day}{} (any moment)", local.strftime(format)),
        ..60.0 => format!("{left:.0} s"),
        ..5_400.0 => format!("{:.0} min", left / 60.0),
        _ => seconds(left),
    };
    format!("{day}{} (in {left})", local.strftime(format))
}

/// Somebody else's text on one line of a terminal: nothing in it moves the cursor or changes a colour.
pub fn clean(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// [`clean`], and at most so many characters.
pub fn cut(text: &str, most: usize) -> String {
    let text = clean(text);
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `1 thing`, `2 things`
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Rows in columns.
pub struct Table {
    indent: &'static str,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose column heads are these; those that begin with `>` stand right.
    pub fn new(indent: &'static str, heads: &[&str]) -> Table {
        let right = heads.iter().map(|head| head.starts_with('>')).collect();
        let heads = heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect();
        Table { indent, right, rows: vec![heads] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Writes it. A head without a word is not written.
    ///
    /// # Errors
    /// When `out` does not take it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let headless = self.rows[0].iter().all(String::is_empty);
        for row in self.rows.iter().skip(usize::from(headless)) {
            let mut line = self.indent.to_owned();
            for (column, cell) in row.iter().enumerate() {
                let width = widths.get(column).copied().unwrap_or(0);
                if column > 0 {
                    line += "  ";
                }
                if self.right.get(column).is_some_and(|right| *right) {
                    line += &format!("{cell:>width$}");
                } else {
                    line += &format!("{cell:<width$}");
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_people_say_them() {
        let table = [
            (-1.0, "0.00 s"),
            (1.934, "1.93 s"),
            (9.999, "10.0 s"),
            (59.96, "1 min 0 s"),
            (185.4, "3 min 5 s"),
            (8040.0, "2 h 14 min"),
            (280_000.0, "3 d 5 h"),
        ];
        for (given, said) in table {
            assert_eq!(seconds(given), said);
        }
    }

    #[test]
    fn what_is_to_come_is_told_with_how_long_that_is() {
        let now: Timestamp = "2026-11-24T14:00:00Z".parse().unwrap();
        let table = [
            ("2026-11-24T14:00:20Z", "(in 20 s)"),
            ("2026-11-24T14:04:10Z", "(in 4 min)"),
            ("2026-11-24T16:30:00Z", "(in 2 h 30 min)"),
            ("2026-11-24T13:59:59Z", "(any moment)"),
        ];
        for (at, said) in table {
            let told = about(at, now);
            assert!(told.ends_with(said), "{told}");
        }
        assert_eq!(about("soon\n", now), "soon");
    }

    #[test]
    fn a_table_is_aligned() {
        let mut table = Table::new("  ", &["name", ">n", ""]);
        table.row(vec!["é".into(), "7".into(), "x".into()]);
        table.row(vec!["longer".into(), "10".into(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  name     n\n  é        7  x\n  longer  10\n");
    }

    #[test]
    fn a_strangers_text_moves_no_cursor() {
        assert_eq!(clean(" a\u{1b}[2J\nb\t"), "a [2J b");
    }
}

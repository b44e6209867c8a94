//! Cron expressions: how they are read, and when they are due, daylight saving included.
//!
//! Five fields, by the rules of vixie cron: minute, hour, day of the month, month, day of the week. What they say is local time:
//!
//! - An expression for **every hour** (its hour begins with `*`, or names all of them) follows the real time: it is due
//!   whenever a clock on the wall shows a time that matches. So none in the hour that spring leaves out, and both hours that
//!   autumn repeats.
//! - One for **certain hours** is due once for each time that it names: a time that spring leaves out at the first instant
//!   after the gap, a time that autumn repeats at the first of both.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Nobody looks further ahead: 29 February on a certain weekday can be 40 years away.
const MOST_YEARS: i16 = 100;

/// A cron expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    /// A bit for each minute, hour, day, month and weekday that matches. Sunday is 0.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both fields of days restrict, so a day that matches one of them matches.
    either_day: bool,
    /// It follows the real time, not the clock on the wall.
    every_hour: bool,
}

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronError {
    /// What is wrong, with the field.
    pub message: String,
    /// What to write.
    pub hint: String,
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (hint: {})", self.message, self.hint)
    }
}

impl std::error::Error for CronError {}

/// One of the five fields.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// The names that its numbers have, the first that of `min`.
    names: &'static [&'static str],
    example: &'static str,
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[], example: "*, 0, 0,30 or */15" },
    Field { name: "hour", min: 0, max: 23, names: &[], example: "*, 2, 8-18 or */4" },
    Field { name: "day of the month", min: 1, max: 31, names: &[], example: "*, 1, 1,15 or 1-7" },
    Field { name: "month", min: 1, max: 12, names: &MONTHS, example: "*, 1, JAN or 1-6" },
    Field { name: "day of the week", min: 0, max: 7, names: &WEEKDAYS, example: "*, 1-5, MON-FRI or SUN" },
];
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// The most days that each month can have.
const MONTH_DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const EVERY_HOUR: u64 = (1 << 24) - 1;

impl Cron {
    /// Reads `0 2 * * MON-FRI`, `*/15 * * * *`, `@daily`.
    ///
    /// # Errors
    /// Which field is wrong, and what to write.
    pub fn parse(text: &str) -> Result<Cron, CronError> {
        let text = text.trim();
        if text.starts_with('@') {
            let found = NICKNAMES.iter().find(|(nickname, _)| nickname.eq_ignore_ascii_case(text));
            let (_, means) = found.ok_or_else(|| CronError {
                message: format!("{} names no time", quoted(text)),
                hint: "write @hourly, @daily, @weekly, @monthly, @yearly, or five fields: 0 2 * * *".into(),
            })?;
            return Cron::parse(means);
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words[..] else {
            let hint = match words.len() {
                6 | 7 => "there are no seconds and no years",
                _ => "every day at two is 0 2 * * *",
            };
            return Err(CronError {
                message: format!("{} has {}, not five fields", quoted(text), counted(words.len())),
                hint: format!("write minute, hour, day of the month, month, day of the week: {hint}"),
            });
        };
        let [minutes, hours, days, months, weekdays] = &FIELDS;
        let weekdays = weekdays.read(weekday)?;
        let hours = hours.read(hour)?;
        let cron = Cron {
            minutes: minutes.read(minute)?,
            hours,
            days: days.read(day)?,
            months: months.read(month)?,
            weekdays: (weekdays | weekdays >> 7) & 0x7F,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            every_hour: hour.starts_with('*') || hours == EVERY_HOUR,
        };
        let has_day = |month: u32| {
            has(cron.months, month) && cron.days & ((2 << MONTH_DAYS[month as usize - 1]) - 1) != 0
        };
        if !cron.either_day && !(1..=12).any(has_day) {
            return Err(CronError {
                message: format!("{} is never due: no month of it has such a day", quoted(text)),
                hint: "look at the day of the month and at the month".into(),
            });
        }
        Ok(cron)
    }

    /// The first instant after this one at which it is due, in this zone. None within a hundred years: never.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.every_hour { self.next_real(after, zone) } else { self.next_on_the_wall(after, zone) }
    }

    /// By real time: between two changes of the clock it is plain arithmetic.
    fn next_real(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let last_year = zone.to_datetime(after).year().saturating_add(MOST_YEARS);
        let mut from = after.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
        loop {
            let offset = zone.to_offset(from);
            let change = zone.following(from).next().map(|change| change.timestamp());
            let local = self.first(whole_minute(offset.to_datetime(from))?, last_year);
            let due = local.and_then(|local| offset.to_timestamp(local).ok());
            match (due, change) {
                (Some(due), Some(change)) if due >= change => from = change,
                (None, Some(change)) if offset.to_datetime(change).year() <= last_year => from = change,
                (due, _) => return due,
            }
        }
    }

    /// By the clock on the wall, each time once.
    fn next_on_the_wall(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let now = zone.to_datetime(after);
        let last_year = now.year().saturating_add(MOST_YEARS);
        // What the wall has shown before is over: gaps are behind it, and of what is repeated the first time counts.
        let mut local = next_minute(now)?;
        loop {
            local = self.first(local, last_year)?;
            let due = once(local, zone)?;
            if due > after {
                return Some(due);
            }
            local = next_minute(local)?;
        }
    }

    /// The first local time from this one on that matches, whether or not the clock ever shows it.
    fn first(&self, from: DateTime, last_year: i16) -> Option<DateTime> {
        let (mut date, mut hour, mut minute) = (from.date(), from.hour() as u32, from.minute() as u32);
        loop {
            if !has(self.months, date.month() as u32) {
                date = date.last_of_month().tomorrow().ok()?;
            } else if !self.has_day(date) {
                date = date.tomorrow().ok()?;
            } else if let Some((hour, minute)) = self.first_of_day(hour, minute) {
                return Some(date.at(hour as i8, minute as i8, 0, 0));
            } else {
                date = date.tomorrow().ok()?;
            }
            (hour, minute) = (0, 0);
            if date.year() > last_year {
                return None;
            }
        }
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day() as u32);
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset() as u32);
        if self.either_day { day || weekday } else { day && weekday }
    }

    fn first_of_day(&self, hour: u32, minute: u32) -> Option<(u32, u32)> {
        if has(self.hours, hour)
            && let Some(minute) = lowest(self.minutes, minute)
        {
            return Some((hour, minute));
        }
        Some((lowest(self.hours, hour + 1)?, lowest(self.minutes, 0)?))
    }
}

impl Field {
    /// The numbers that match, a bit each.
    fn read(&self, text: &str) -> Result<u64, CronError> {
        let mut bits = 0;
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                None => (item, None),
                Some((range, step)) => (range, Some(step)),
            };
            let (first, last) = if range == "*" {
                // 7 is another name of Sunday.
                (self.min, if self.names.len() == 7 { 6 } else { self.max })
            } else if let Some((first, last)) = range.split_once('-') {
                let (first, last) = (self.number(first, item)?, self.number(last, item)?);
                // A week may end on its Sunday.
                (first, if last == 0 && first > 0 && self.max == 7 { 7 } else { last })
            } else {
                let only = self.number(range, item)?;
                if step.is_some() {
                    let hint = format!("write {only}-{}/{}", self.max, step.unwrap_or_default());
                    return Err(self.error(format_args!("{} has a step and no range", quoted(item)), hint));
                }
                (only, only)
            };
            if first > last {
                let hint = format!("write {first}-{},{}-{last}", self.max, self.min);
                return Err(self.error(format_args!("the range {} runs backwards", quoted(item)), hint));
            }
            let step: u32 = match step {
                None => 1,
                Some(step) => step.parse().ok().filter(|step| *step > 0).ok_or_else(|| {
                    let wrong = format_args!("{} is no step", quoted(step)).to_string();
                    self.error(format_args!("{wrong}"), "a step is a number from 1: */15".into())
                })?,
            };
            for number in (first..=last).step_by(step as usize) {
                bits |= 1 << number;
            }
        }
        Ok(bits)
    }

    fn number(&self, text: &str, item: &str) -> Result<u32, CronError> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(at as u32 + self.min);
        }
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number {
            return text.parse().ok().filter(|number| (self.min..=self.max).contains(number)).ok_or_else(
                || {
                    let hint = format!("it goes from {} to {}", self.min, self.max);
                    self.error(format_args!("{} is out of range", quoted(text)), hint)
                },
            );
        }
        Err(self.error(format_args!("{} says nothing", quoted(item)), format!("write {}", self.example)))
    }

    fn error(&self, what: fmt::Arguments<'_>, hint: String) -> CronError {
        CronError { message: format!("the {}: {what}", self.name), hint }
    }
}

/// The instant of a local time: the first of two, or the first after the gap that it falls into.
pub(super) fn once(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let found = zone.to_ambiguous_timestamp(local);
    let offset = match found.offset() {
        AmbiguousOffset::Unambiguous { offset } => offset,
        AmbiguousOffset::Fold { before, .. } => before,
        AmbiguousOffset::Gap { before, .. } => {
            let beyond = before.to_timestamp(local).ok()?;
            let change = zone.preceding(beyond.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?).next();
            return Some(change.map_or(beyond, |change| change.timestamp()));
        }
    };
    offset.to_timestamp(local).ok()
}

/// This local time, or the next one that is a whole minute.
fn whole_minute(local: DateTime) -> Option<DateTime> {
    if local.second() == 0 && local.subsec_nanosecond() == 0 { Some(local) } else { next_minute(local) }
}

fn next_minute(local: DateTime) -> Option<DateTime> {
    let minute = local.date().at(local.hour(), local.minute(), 0, 0);
    minute.checked_add(jiff::SignedDuration::from_mins(1)).ok()
}

fn has(bits: u64, number: u32) -> bool {
    bits >> number & 1 == 1
}

/// The lowest number from this one on.
fn lowest(bits: u64, from: u32) -> Option<u32> {
    let left = bits.checked_shr(from)?;
    (left != 0).then(|| from + left.trailing_zeros())
}

/// At most 60 characters of a text, in quotes.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn counted(count: usize) -> String {
    format!("{count} {}", if count == 1 { "field" } else { "fields" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times of an expression, local ones with their offset.
    fn times(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        let mut at = once(after.parse().unwrap(), &zone).unwrap();
        (0..count)
            .map_while(|_| {
                at = cron.next(at, &zone)?;
                Some(at.to_zoned_datetime(zone.clone()).strftime("%m-%d %H:%M%:z").to_string())
            })
            .collect()
    }

    #[test]
    fn clocks_that_change() {
        let (paris, montreal) = ("Europe/Paris", "America/Montreal");
        // From local time on; what is due then.
        #[rustfmt::skip]
        let table: &[(&str, &str, &str, &[&str])] = &[
            // Spring: 2 o'clock is left out.
            ("0 2 * * *", paris, "2026-03-28T01:00", &["03-28 02:00+01:00", "03-29 03:00+02:00", "03-30 02:00+02:00"]),
            ("30 2 * * *", paris, "2026-03-28T03:00", &["03-29 03:00+02:00", "03-30 02:30+02:00"]),
            ("0,30 2 * * *", paris, "2026-03-28T03:00", &["03-29 03:00+02:00", "03-30 02:00+02:00"]),
            ("*/20 2 * * *", paris, "2026-03-28T03:00", &["03-29 03:00+02:00", "03-30 02:00+02:00", "03-30 02:20+02:00"]),
            ("0 2,3 * * *", paris, "2026-03-28T04:00", &["03-29 03:00+02:00", "03-30 02:00+02:00", "03-30 03:00+02:00"]),
            ("30 1 * * *", paris, "2026-03-28T02:00", &["03-29 01:30+01:00", "03-30 01:30+02:00"]),
            ("30 2 * * SUN", paris, "2026-03-28T02:00", &["03-29 03:00+02:00", "04-05 02:30+02:00"]),
            ("0 * * * *", paris, "2026-03-29T00:30", &["03-29 01:00+01:00", "03-29 03:00+02:00", "03-29 04:00+02:00"]),
            ("*/15 * * * *", paris, "2026-03-29T01:30", &["03-29 01:45+01:00", "03-29 03:00+02:00", "03-29 03:15+02:00"]),
            ("0 0-23 * * *", paris, "2026-03-29T00:30", &["03-29 01:00+01:00", "03-29 03:00+02:00"]),
            ("30 */2 * * *", paris, "2026-03-29T00:00", &["03-29 00:30+01:00", "03-29 04:30+02:00"]),
            ("0 2 * * *", montreal, "2026-03-07T03:00", &["03-08 03:00-04:00", "03-09 02:00-04:00"]),
            ("30 2 * * *", montreal, "2026-03-07T03:00", &["03-08 03:00-04:00", "03-09 02:30-04:00"]),
            ("0 * * * *", montreal, "2026-03-08T00:30", &["03-08 01:00-05:00", "03-08 03:00-04:00"]),
            ("*/15 * * * *", montreal, "2026-03-08T01:30", &["03-08 01:45-05:00", "03-08 03:00-04:00"]),
            // Autumn: an hour comes twice, 2 o'clock in Paris, 1 o'clock in Montreal.
            ("0 2 * * *", paris, "2026-10-24T03:00", &["10-25 02:00+02:00", "10-26 02:00+01:00"]),
            ("30 2 * * *", paris, "2026-10-24T03:00", &["10-25 02:30+02:00", "10-26 02:30+01:00"]),
            ("*/20 2 * * *", paris, "2026-10-24T03:00", &["10-25 02:00+02:00", "10-25 02:20+02:00", "10-25 02:40+02:00", "10-26 02:00+01:00"]),
            ("0 3 * * *", paris, "2026-10-24T04:00", &["10-25 03:00+01:00", "10-26 03:00+01:00"]),
            ("0 * * * *", paris, "2026-10-25T01:30", &["10-25 02:00+02:00", "10-25 02:00+01:00", "10-25 03:00+01:00"]),
            ("*/15 * * * *", paris, "2026-10-25T02:30", &["10-25 02:45+02:00", "10-25 02:00+01:00", "10-25 02:15+01:00"]),
            ("0 2 * * *", montreal, "2026-10-31T03:00", &["11-01 02:00-05:00", "11-02 02:00-05:00"]),
            ("30 1 * * *", montreal, "2026-10-31T03:00", &["11-01 01:30-04:00", "11-02 01:30-05:00"]),
            ("0 * * * *", montreal, "2026-11-01T00:30", &["11-01 01:00-04:00", "11-01 01:00-05:00", "11-01 02:00-05:00"]),
            ("*/15 * * * *", montreal, "2026-11-01T01:30", &["11-01 01:45-04:00", "11-01 01:00-05:00"]),
            // A clock that changes at midnight, one that changes by half an hour, a day that never was.
            ("0 0 * * *", "America/Santiago", "2026-09-05T12:00", &["09-06 01:00-03:00", "09-07 00:00-03:00"]),
            ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", &["10-04 02:30+11:00", "10-05 02:15+11:00"]),
            ("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00", &["12-29 12:00-10:00", "12-31 00:00+14:00", "12-31 12:00+14:00"]),
        ];
        for (cron, zone, after, due) in table {
            assert_eq!(&times(cron, zone, after, due.len()), due, "{cron} in {zone} after {after}");
        }
    }

    #[test]
    fn the_second_of_two_hours_is_over() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        // 02:10 for the second time.
        let after = "2026-10-25T02:10+01:00".parse().unwrap();
        let next = |cron| Cron::parse(cron).unwrap().next(after, &paris).unwrap();
        assert_eq!(next("30 2 * * *"), "2026-10-26T02:30+01:00".parse().unwrap());
        assert_eq!(next("30 * * * *"), "2026-10-25T02:30+01:00".parse().unwrap());
    }

    #[test]
    fn days_and_names() {
        #[rustfmt::skip]
        let table: &[(&str, &str, &[&str])] = &[
            ("0 0 31 * *", "2026-01-31T12:00", &["03-31 00:00+00:00", "05-31 00:00+00:00", "07-31 00:00+00:00"]),
            ("0 0 29 2 *", "2026-01-01T00:00", &["02-29 00:00+00:00"]),
            ("0 12 28-31 * *", "2026-02-27T00:00", &["02-28 12:00+00:00", "03-28 12:00+00:00"]),
            ("0 0 1 JAN *", "2026-01-01T00:00", &["01-01 00:00+00:00"]),
            ("0 6 * * mon-fri", "2026-11-27T07:00", &["11-30 06:00+00:00", "12-01 06:00+00:00"]),
            ("0 6 * * 7", "2026-11-25T00:00", &["11-29 06:00+00:00", "12-06 06:00+00:00"]),
            ("0 6 * * 0", "2026-11-25T00:00", &["11-29 06:00+00:00", "12-06 06:00+00:00"]),
            ("0 6 * * FRI-SUN", "2026-11-25T00:00", &["11-27 06:00+00:00", "11-28 06:00+00:00", "11-29 06:00+00:00", "12-04 06:00+00:00"]),
            ("0 6 * * 5-7", "2026-11-28T12:00", &["11-29 06:00+00:00", "12-04 06:00+00:00"]),
            // Two fields of days that both restrict: one of them is enough. A field that begins with * does not restrict so.
            ("0 0 13 * FRI", "2026-11-01T00:00", &["11-06 00:00+00:00", "11-13 00:00+00:00", "11-20 00:00+00:00"]),
            ("0 0 1 * MON", "2026-11-25T00:00", &["11-30 00:00+00:00", "12-01 00:00+00:00", "12-07 00:00+00:00"]),
            ("0 0 */2 * MON", "2026-11-01T00:00", &["11-09 00:00+00:00", "11-23 00:00+00:00", "12-07 00:00+00:00"]),
            ("5-59/20,0 8 * 6,JUL *", "2026-06-30T08:10", &["06-30 08:25+00:00", "06-30 08:45+00:00", "07-01 08:00+00:00"]),
            (" 0\t2  * * * ", "2026-11-25T00:00", &["11-25 02:00+00:00"]),
            ("*/40 * * * *", "2026-11-25T00:00", &["11-25 00:40+00:00", "11-25 01:00+00:00"]),
            ("@hourly", "2026-11-25T00:30", &["11-25 01:00+00:00"]),
            ("@daily", "2026-11-25T00:30", &["11-26 00:00+00:00"]),
            ("@Midnight", "2026-11-25T00:30", &["11-26 00:00+00:00"]),
            ("@weekly", "2026-11-25T00:30", &["11-29 00:00+00:00"]),
            ("@monthly", "2026-11-25T00:30", &["12-01 00:00+00:00"]),
            ("@yearly", "2026-11-25T00:30", &["01-01 00:00+00:00"]),
            // The year 2028 is the next with a 29 February; the next on a Tuesday is 2028 too, on a Sunday 2032.
            ("0 0 29 2 */2", "2026-01-01T00:00", &["02-29 00:00+00:00"]),
        ];
        for (cron, after, due) in table {
            assert_eq!(&times(cron, "UTC", after, due.len()), due, "{cron} after {after}");
        }
        let far =
            Cron::parse("0 0 29 2 *").unwrap().next("2096-03-01T00:00Z".parse().unwrap(), &TimeZone::UTC);
        assert_eq!(far, Some("2104-02-29T00:00Z".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        #[rustfmt::skip]
        let table = [
            ("", "\"\" has 0 fields, not five fields (hint: write minute, hour, day of the month, month, day of the week: every day at two is 0 2 * * *)"),
            ("0 2 * *", "\"0 2 * *\" has 4 fields, not five fields (hint: write minute, hour, day of the month, month, day of the week: every day at two is 0 2 * * *)"),
            ("0 0 2 * * *", "\"0 0 2 * * *\" has 6 fields, not five fields (hint: write minute, hour, day of the month, month, day of the week: there are no seconds and no years)"),
            ("daily", "\"daily\" has 1 field, not five fields (hint: write minute, hour, day of the month, month, day of the week: every day at two is 0 2 * * *)"),
            ("@reboot", "\"@reboot\" names no time (hint: write @hourly, @daily, @weekly, @monthly, @yearly, or five fields: 0 2 * * *)"),
            ("60 * * * *", "the minute: \"60\" is out of range (hint: it goes from 0 to 59)"),
            ("0 24 * * *", "the hour: \"24\" is out of range (hint: it goes from 0 to 23)"),
            ("0 0 0 * *", "the day of the month: \"0\" is out of range (hint: it goes from 1 to 31)"),
            ("0 0 1 13 *", "the month: \"13\" is out of range (hint: it goes from 1 to 12)"),
            ("0 0 1 JANUARY *", "the month: \"JANUARY\" says nothing (hint: write *, 1, JAN or 1-6)"),
            ("0 0 * * 8", "the day of the week: \"8\" is out of range (hint: it goes from 0 to 7)"),
            ("0 0 L * *", "the day of the month: \"L\" says nothing (hint: write *, 1, 1,15 or 1-7)"),
            ("0 0 ? * MON", "the day of the month: \"?\" says nothing (hint: write *, 1, 1,15 or 1-7)"),
            ("0 0 * * MON#2", "the day of the week: \"MON#2\" says nothing (hint: write *, 1-5, MON-FRI or SUN)"),
            ("0 22-2 * * *", "the hour: the range \"22-2\" runs backwards (hint: write 22-23,0-2)"),
            ("*/0 * * * *", "the minute: \"0\" is no step (hint: a step is a number from 1: */15)"),
            ("*/x * * * *", "the minute: \"x\" is no step (hint: a step is a number from 1: */15)"),
            ("5/15 * * * *", "the minute: \"5/15\" has a step and no range (hint: write 5-59/15)"),
            ("0,,5 * * * *", "the minute: \"\" says nothing (hint: write *, 0, 0,30 or */15)"),
            ("-5 * * * *", "the minute: \"-5\" says nothing (hint: write *, 0, 0,30 or */15)"),
            ("99999999999 * * * *", "the minute: \"99999999999\" is out of range (hint: it goes from 0 to 59)"),
            ("0 0 30 2 *", "\"0 0 30 2 *\" is never due: no month of it has such a day (hint: look at the day of the month and at the month)"),
            ("0 0 31 4,6,9,11 *", "\"0 0 31 4,6,9,11 *\" is never due: no month of it has such a day (hint: look at the day of the month and at the month)"),
        ];
        for (text, said) in table {
            assert_eq!(Cron::parse(text).unwrap_err().to_string(), said, "{text}");
        }
        assert!(Cron::parse("0 0 30 2 MON").is_ok(), "Mondays of February");
    }

    #[test]
    fn every_instant_is_after_the_one_before_and_none_is_left_out() {
        // Against a naive look at every minute of the days around both changes.
        for (zone, days) in [
            ("Europe/Paris", ["2026-03-28", "2026-10-24"]),
            ("America/Montreal", ["2026-03-07", "2026-10-31"]),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            for day in days {
                let start = once(format!("{day}T00:00").parse().unwrap(), &zone).unwrap();
                let end = start + jiff::SignedDuration::from_hours(72);
                for text in ["*/15 * * * *", "7 */3 * * *", "0 2 * * *", "*/10 1-3 * * *", "59 23 * * *"] {
                    let cron = Cron::parse(text).unwrap();
                    let mut due = Vec::new();
                    let mut at = start;
                    while let Some(next) = cron.next(at, &zone).filter(|next| *next <= end) {
                        assert!(next > at, "{text}: {next} after {at}");
                        due.push(next);
                        at = next;
                    }
                    let mut naive = std::collections::BTreeSet::new();
                    if cron.every_hour {
                        let mut minute = start + jiff::SignedDuration::from_mins(1);
                        while minute <= end {
                            let local = zone.to_datetime(minute);
                            if has(cron.minutes, local.minute() as u32)
                                && has(cron.hours, local.hour() as u32)
                            {
                                naive.insert(minute);
                            }
                            minute += jiff::SignedDuration::from_mins(1);
                        }
                    } else {
                        let mut local: DateTime = format!("{day}T00:00").parse().unwrap();
                        for _ in 0..(74 * 60) {
                            local = next_minute(local).unwrap();
                            if has(cron.minutes, local.minute() as u32)
                                && has(cron.hours, local.hour() as u32)
                            {
                                naive.insert(once(local, &zone).unwrap());
                            }
                        }
                        naive.retain(|at| *at > start && *at <= end);
                    }
                    assert_eq!(due, naive.into_iter().collect::<Vec<_>>(), "{text} from {day}");
                }
            }
        }
    }
}

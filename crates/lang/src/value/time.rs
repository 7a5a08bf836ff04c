//! Dates and times as text (schema language, section 8; query language, section 12).

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Days since 1970-01-01 of a date text or of the UTC date of a date-time text.
#[must_use]
pub fn parse_date(text: &str) -> Option<i32> {
    let mut scan = Scan(text.as_bytes());
    let days = scan.date()?;
    let days = if scan.0.is_empty() {
        days
    } else {
        parse_datetime(text)?.div_euclid(MILLIS_PER_DAY)
    };
    i32::try_from(days).ok()
}

/// Milliseconds since 1970-01-01T00:00Z of a date-time text; a bare date is midnight UTC, and what
/// is finer than milliseconds is cut off.
#[must_use]
pub fn parse_datetime(text: &str) -> Option<i64> {
    let mut scan = Scan(text.as_bytes());
    let days = scan.date()?;
    i32::try_from(days).ok()?;
    let midnight = days.checked_mul(MILLIS_PER_DAY)?;
    if scan.0.is_empty() {
        return Some(midnight);
    }
    if !(scan.eat(b'T') || scan.eat(b't') || scan.eat(b' ')) {
        return None;
    }
    let time = scan.time_of_day()?;
    let offset = scan.offset()?;
    if !scan.0.is_empty() {
        return None;
    }
    midnight.checked_add(time)?.checked_sub(offset)
}

/// `2024-02-29`; years outside 0000–9999 have a sign.
#[must_use]
pub fn format_date(days: i32) -> String {
    let (year, month, day) = civil(i64::from(days));
    if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+05}-{month:02}-{day:02}")
    }
}

/// `2024-02-29T10:00:00.000Z`.
#[must_use]
pub fn format_datetime(millis: i64) -> String {
    let days = millis.div_euclid(MILLIS_PER_DAY);
    let rest = millis.rem_euclid(MILLIS_PER_DAY);
    let (year, month, day) = civil(days);
    let date = if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+05}-{month:02}-{day:02}")
    };
    format!(
        "{date}T{:02}:{:02}:{:02}.{:03}Z",
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1000 % 60,
        rest % 1000
    )
}

/// Year, month and day of a day number, proleptic Gregorian. The arithmetic counts in eras of 400
/// years that begin on 1 March (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
#[must_use]
pub fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (
        year,
        u32::try_from(month).unwrap_or(1),
        u32::try_from(day).unwrap_or(1),
    )
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// What is left to read.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        if self.0.first() == Some(&byte) {
            self.0 = &self.0[1..];
            true
        } else {
            false
        }
    }

    /// The number that the next `min` to `max` digits are.
    fn digits(&mut self, min: usize, max: usize) -> Option<i64> {
        let count = self
            .0
            .iter()
            .take(max)
            .take_while(|b| b.is_ascii_digit())
            .count();
        if count < min {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(
            digits
                .iter()
                .fold(0, |number, d| number * 10 + i64::from(d - b'0')),
        )
    }

    /// Days since 1970-01-01.
    fn date(&mut self) -> Option<i64> {
        let negative = self.eat(b'-');
        let signed = negative || self.eat(b'+');
        let leading = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (year, month, day);
        if leading == 8 && !signed && self.0.get(8) != Some(&b'-') {
            year = self.digits(4, 4)?;
            month = self.digits(2, 2)?;
            day = self.digits(2, 2)?;
        } else {
            // Seven digits are more years than 32 bits of days can hold.
            let magnitude = self.digits(4, if signed { 7 } else { 4 })?;
            year = if negative { -magnitude } else { magnitude };
            if !self.eat(b'-') {
                return None;
            }
            month = self.digits(1, 2)?;
            if !self.eat(b'-') {
                return None;
            }
            day = self.digits(1, 2)?;
        }
        let fits = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
        fits.then(|| days_from_civil(year, month, day))
    }

    /// Milliseconds since midnight.
    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.digits(2, 2)?;
        let colons = self.eat(b':');
        let minute = self.digits(2, 2)?;
        if colons && !self.eat(b':') {
            return None;
        }
        let second = self.digits(2, 2)?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut millis = 0;
        if self.eat(b'.') {
            let count = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
            if count == 0 {
                return None;
            }
            let (fraction, rest) = self.0.split_at(count);
            self.0 = rest;
            for place in 0..3 {
                millis = millis * 10 + fraction.get(place).map_or(0, |d| i64::from(d - b'0'));
            }
        }
        Some((hour * 3600 + minute * 60 + second) * 1000 + millis)
    }

    /// Milliseconds that local time is ahead of UTC.
    fn offset(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.eat(b'Z') {
            return Some(0);
        }
        let negative = self.eat(b'-');
        if !negative && !self.eat(b'+') {
            return None;
        }
        let hours = self.digits(2, 2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            self.eat(b':');
            self.digits(2, 2)?
        };
        if hours > 23 || minutes > 59 {
            return None;
        }
        let millis = (hours * 60 + minutes) * 60_000;
        Some(if negative { -millis } else { millis })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_several_spellings() {
        for text in [
            "2024-01-05",
            "2024-1-5",
            "20240105",
            "2024-01-05T03:00:00Z",
            "+2024-01-05",
        ] {
            assert_eq!(parse_date(text), Some(19727), "{text}");
        }
        assert_eq!(parse_date("2024-01-05T00:30:00+01:00"), Some(19726));
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("-0001-12-31"), Some(-719_529));
        for text in [
            "Jan 5",
            "2024-13-01",
            "2023-02-29",
            "2024-1",
            "",
            "24-01-01",
            "2024-01-05x",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        assert_eq!(parse_date("+9999999-01-01"), None);
    }

    #[test]
    fn date_times_have_several_spellings() {
        for text in [
            "2024-01-01 02:00:00+02",
            "2024-01-01T00:00:00Z",
            "2024-01-01t00:00:00",
            "20240101T000000",
            "2024-01-01",
            "2023-12-31T18:30:00-0530",
            "2024-01-01T05:30:00.000999+05:30",
        ] {
            assert_eq!(parse_datetime(text), Some(1_704_067_200_000), "{text}");
        }
        assert_eq!(parse_datetime("1969-12-31T23:59:59.9Z"), Some(-100));
        for text in [
            "2024-01-01T24:00:00",
            "2024-01-01T00:00",
            "2024-01-01T00:00:00.",
            "2024-01-01Z",
        ] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }

    #[test]
    fn printed_texts_read_back() {
        for days in (-1_000_000..1_000_000).step_by(997) {
            assert_eq!(parse_date(&format_date(days)), Some(days));
        }
        for millis in [
            0,
            -1,
            1_704_067_200_123,
            -62_167_219_200_001,
            253_402_300_800_000,
        ] {
            assert_eq!(parse_datetime(&format_datetime(millis)), Some(millis));
        }
        assert_eq!(
            format_datetime(1_709_280_000_000),
            "2024-03-01T08:00:00.000Z"
        );
        assert_eq!(format_date(i32::MAX), "+5881580-07-11");
    }
}

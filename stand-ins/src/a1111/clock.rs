//! The server's clock as it writes it into job time stamps.
//! In: seconds since 1970. Out: `20261122060914`, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn stamp() -> String {
    written(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn written(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1970 to the civil date, counted in eras of 400 years from March of the year 0.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carry;
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn dates_are_written_as_the_server_does() {
        assert_eq!(written(0), "19700101000000");
        assert_eq!(written(951_827_696), "20000229123456");
        assert_eq!(written(1_795_327_754), "20261122060914");
    }
}

// SPDX-License-Identifier: GPL-2.0

//! Numbers for people.

/// The numbers there are, each with what it counts.
pub fn listed(numbers: &[(&str, &str)], number: impl Fn(&str) -> Option<i64>) -> String {
    let there = numbers
        .iter()
        .filter_map(|(key, meaning)| Some((number(key)?, meaning)));
    there
        .map(|(number, meaning)| format!("{} {meaning}", grouped(number)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// 1,234,567
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 {
        "-".to_owned()
    } else {
        String::new()
    };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that leaves one to three digits before the point.
pub fn bytes(count: i64) -> String {
    let mut amount = count as f64;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = None;
    while amount.abs() >= 1024.0 {
        let Some(next) = units.next() else { break };
        amount /= 1024.0;
        unit = Some(next);
    }
    unit.map_or_else(
        || format!("{count} bytes"),
        |unit| format!("{amount:.1} {unit}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(-1000), grouped(1_234_567)],
            ["0", "999", "-1,000", "1,234,567"]
        );
        assert_eq!(
            [bytes(0), bytes(-2048), bytes(117_440_512)],
            ["0 bytes", "-2.0 KiB", "112.0 MiB"]
        );
    }
}

//! How numbers are shown: durations, sizes, and tables in monospace.

use std::time::Duration;

/// `mm:ss`.
pub(crate) fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

/// Bytes as MiB with one decimal.
pub(crate) fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// A Markdown table that is also readable as it stands: the first column left, the others right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let mut text = String::from("|");
        for (index, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            if index == 0 {
                text.push_str(&format!(" {cell:<width$} |"));
            } else {
                text.push_str(&format!(" {cell:>width$} |"));
            }
        }
        text.push('\n');
        text
    };
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    let mut text = line(&head);
    text.push('|');
    for (index, width) in widths.iter().enumerate() {
        let dashes = "-".repeat(width + 1);
        text.push_str(&if index == 0 {
            format!("{dashes}-|")
        } else {
            format!("{dashes}:|")
        });
    }
    text.push('\n');
    for row in rows {
        text.push_str(&line(row));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_durations_sizes_and_tables() {
        assert_eq!(minutes(Duration::from_secs(125)), "02:05");
        assert_eq!(mebibytes(3 * 1024 * 1024 / 2), "1.5 MiB");
        assert_eq!(
            table(&["a", "n"], &[vec!["long".into(), "1".into()]]),
            "| a    | n |\n|------|--:|\n| long | 1 |\n"
        );
    }
}

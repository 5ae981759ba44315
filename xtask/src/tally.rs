//! Counts tests by kind, from what the test runners print.

use crate::output::table;

/// Numbers of one kind of test.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    /// For a cell: what passed, and what else there is.
    fn short(self) -> String {
        let mut text = self.passed.to_string();
        for (number, what) in [(self.failed, "FAILED"), (self.skipped, "skipped")] {
            if number > 0 {
                text.push_str(&format!(", {number} {what}"));
            }
        }
        text
    }
}

/// A failure's name may have its reason behind it.
const FAILURE_CHARS_MAX: usize = 200;

/// Numbers by kind, in the order in which they came up; those of suites also by combination.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    kinds: Vec<(String, Count)>,
    /// Suite, combination, numbers.
    suites: Vec<(String, String, Count)>,
    /// What failed, as its runner names it: whoever sees the end of a long run alone sees it as well.
    failures: Vec<String>,
}

impl Tally {
    /// Adds to a kind's numbers.
    pub(crate) fn add(&mut self, kind: &str, count: Count) {
        match self.kinds.iter_mut().find(|(name, _)| name == kind) {
            Some((_, sum)) => {
                sum.passed += count.passed;
                sum.failed += count.failed;
                sum.skipped += count.skipped;
            }
            None => self.kinds.push((kind.to_owned(), count)),
        }
    }

    /// Adds one check that held or didn't.
    pub(crate) fn check(&mut self, kind: &str, held: bool) {
        self.add(
            kind,
            Count {
                passed: held.into(),
                failed: (!held).into(),
                skipped: 0,
            },
        );
    }

    /// Adds a suite's numbers on one combination of ledger and content.
    pub(crate) fn add_on(&mut self, combination: &str, suite: &str, count: Count) {
        self.add(suite, count);
        self.suites
            .push((suite.to_owned(), combination.to_owned(), count));
    }

    /// Says and counts that something didn't get to its end.
    pub(crate) fn broke_off(&mut self, name: &str, error: &anyhow::Error) {
        println!("    {name} failed: {error:#}");
        self.failures.push(format!("{name}: {error:#}"));
        self.check("phases that broke off", false);
    }

    /// The suites' numbers side by side: a row for each suite, a column for each combination.
    pub(crate) fn side_by_side(&self) -> String {
        let (mut suites, mut combinations) = (Vec::new(), Vec::new());
        for (suite, combination, _) in &self.suites {
            for (names, name) in [(&mut suites, suite), (&mut combinations, combination)] {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let cell = |suite: &str, combination: &str| {
            let mut found = self.suites.iter();
            let found = found.find(|(s, c, _)| s == suite && c == combination);
            found.map_or_else(|| "-".to_owned(), |(_, _, count)| count.short())
        };
        let row = |suite: &&String| {
            let cells = combinations.iter().map(|combination| cell(suite, combination));
            std::iter::once((*suite).clone()).chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = suites.iter().map(row).collect();
        let mut head = vec!["passed"];
        head.extend(combinations.iter().map(|name| name.as_str()));
        table(&head, &rows)
    }

    /// The sum over all kinds.
    pub(crate) fn total(&self) -> Count {
        self.kinds.iter().fold(Count::default(), |sum, (_, count)| Count {
            passed: sum.passed + count.passed,
            failed: sum.failed + count.failed,
            skipped: sum.skipped + count.skipped,
        })
    }

    /// The table of kinds.
    pub(crate) fn table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .kinds
            .iter()
            .map(|(kind, count)| {
                let numbers = [count.passed, count.failed, count.skipped];
                std::iter::once(kind.clone())
                    .chain(numbers.map(|n| n.to_string()))
                    .collect()
            })
            .collect();
        table(&["kind of test", "passed", "failed", "skipped"], &rows)
    }

    /// Keeps the names of failed tests out of a runner's output.
    pub(crate) fn add_failures(&mut self, of: &str, lines: &[String]) {
        let mut failed: Vec<String> = Vec::new();
        for line in lines.iter().map(|line| line.trim()) {
            let name = (line.strip_prefix("test "))
                .and_then(|rest| rest.strip_suffix(" ... FAILED"))
                .or_else(|| line.strip_prefix("FAILED "))
                .or_else(|| line.strip_prefix("ERROR "))
                .or_else(|| line.strip_prefix("--- FAIL: "))
                .or_else(|| line.strip_prefix("[ERROR]   "))
                .or_else(|| line.strip_prefix("\u{2716} "));
            if let Some(name) = name {
                let name = format!(
                    "{of}: {}",
                    name.chars().take(FAILURE_CHARS_MAX).collect::<String>()
                );
                if !failed.contains(&name) {
                    failed.push(name);
                }
            }
        }
        self.failures.append(&mut failed);
    }

    /// What failed, a line each; empty if nothing did.
    pub(crate) fn failures(&self) -> String {
        let lines: Vec<String> = self
            .failures
            .iter()
            .map(|name| format!("FAILED {name}\n"))
            .collect();
        lines.concat()
    }

    /// Takes the numbers out of `cargo test`'s output: which binary runs is on a line before.
    pub(crate) fn add_cargo_test(&mut self, lines: &[String]) {
        let mut kind = "unit and property tests";
        for line in lines {
            let line = line.trim_start();
            if line.starts_with("Running unittests") {
                kind = "unit and property tests";
            } else if line.starts_with("Running tests/") {
                kind = "tests of a crate's public face";
            } else if line.starts_with("Doc-tests") {
                kind = "examples in documentation";
            } else if let Some(count) = cargo_result(line).filter(|count| *count != Count::default()) {
                self.add(kind, count);
            }
        }
    }
}

/// The numbers of one `test result:` line of `cargo test`.
fn cargo_result(line: &str) -> Option<Count> {
    let rest = line.trim_start().strip_prefix("test result: ")?;
    Some(Count {
        passed: number_before(rest, "passed"),
        failed: number_before(rest, "failed"),
        skipped: number_before(rest, "ignored"),
    })
}

/// The numbers of `cargo test` for a package with one binary of tests.
pub(crate) fn cargo_test(lines: &[String]) -> Option<Count> {
    lines.iter().find_map(|line| cargo_result(line))
}

/// The numbers of `go test -v`, which has a line for each test: `--- PASS: TestName (0.01s)`.
pub(crate) fn go_test(lines: &[String]) -> Option<Count> {
    let number = |mark: &str| lines.iter().filter(|line| line.starts_with(mark)).count() as u64;
    let count = Count {
        passed: number("--- PASS: "),
        failed: number("--- FAIL: "),
        skipped: number("--- SKIP: "),
    };
    (count != Count::default()).then_some(count)
}

/// The numbers of Maven's surefire, whose last line of this form has the sum:
/// `Tests run: 4, Failures: 1, Errors: 1, Skipped: 0`.
pub(crate) fn surefire(lines: &[String]) -> Option<Count> {
    let line = lines.iter().rev().find(|line| line.contains("Tests run: "))?;
    let number = |name: &str| -> Option<u64> {
        let (_, behind) = line.split_once(name)?;
        behind.split(',').next()?.trim().parse().ok()
    };
    let (run, skipped) = (number("Tests run: ")?, number("Skipped: ")?);
    let failed = number("Failures: ")? + number("Errors: ")?;
    Some(Count {
        passed: run.saturating_sub(failed + skipped),
        failed,
        skipped,
    })
}

/// The numbers of pytest's last line, such as `3 failed, 20 passed, 1 skipped in 3.2s`.
pub(crate) fn pytest(lines: &[String]) -> Option<Count> {
    lines
        .iter()
        .rev()
        .filter(|line| line.contains(" in "))
        .find_map(|summary| {
            let count = Count {
                passed: number_before(summary, "passed"),
                failed: number_before(summary, "failed") + number_before(summary, "error"),
                skipped: number_before(summary, "skipped"),
            };
            (count != Count::default()).then_some(count)
        })
}

/// The numbers of node's test runner, such as `# pass 12` or `ℹ pass 12`.
pub(crate) fn node(lines: &[String]) -> Option<Count> {
    let find = |word: &str| {
        lines.iter().rev().find_map(|line| {
            let mut words = line.split_whitespace();
            let mark = words.next()?;
            ((mark == "#" || mark == "ℹ") && words.next()? == word)
                .then(|| words.next()?.parse::<u64>().ok())?
        })
    };
    Some(Count {
        passed: find("pass")?,
        failed: find("fail")? + find("cancelled").unwrap_or(0),
        skipped: find("skipped").unwrap_or(0) + find("todo").unwrap_or(0),
    })
}

/// The number that stands before a word (or a word that begins so).
fn number_before(text: &str, word: &str) -> u64 {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect();
    words
        .windows(2)
        .find_map(|pair| match pair {
            [number, name] if name.starts_with(word) => number.parse().ok(),
            _ => None,
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn reads_cargo_test() {
        let mut tally = Tally::default();
        tally.add_cargo_test(&lines(
            "     Running unittests src/lib.rs (target/debug/deps/a-1)\n\
             test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
             \x20    Running tests/conformance.rs (target/debug/deps/b-2)\n\
             test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n",
        ));
        assert_eq!(
            tally.total(),
            Count {
                passed: 15,
                failed: 2,
                skipped: 1
            }
        );
        assert_eq!(tally.kinds.len(), 2);
        assert!(tally.table().contains("public face"));
    }

    #[test]
    fn failed_tests_are_named_by_whatever_ran_them() {
        let mut tally = Tally::default();
        assert_eq!(tally.failures(), "");
        tally.add_failures(
            "crates",
            &lines("test a::b ... ok\ntest a::c ... FAILED\n    a::c\ntest a::c ... FAILED"),
        );
        tally.add_failures(
            "Python",
            &lines("FAILED test_x.py::test_y - assert 1 == 2\n1 failed in 3 s"),
        );
        tally.add_failures("Go", &lines("--- FAIL: TestB (0.00s)"));
        tally.add_failures(
            "JavaScript",
            &lines("\u{2716} refuses (3ms)\n\u{2714} takes (1ms)"),
        );
        let failures = tally.failures();
        let named: Vec<&str> = failures.lines().collect();
        let expected = [
            "FAILED crates: a::c",
            "FAILED Python: test_x.py::test_y - assert 1 == 2",
            "FAILED Go: TestB (0.00s)",
            "FAILED JavaScript: refuses (3ms)",
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn reads_go_surefire_and_one_package_of_cargo() {
        let count = |passed, failed, skipped| {
            Some(Count {
                passed,
                failed,
                skipped,
            })
        };
        let go = "=== RUN   TestA\n--- PASS: TestA (0.01s)\n=== RUN   TestB\n    b_test.go:1: no\n\
                  --- FAIL: TestB (0.00s)\n--- SKIP: TestC (0.00s)\nFAIL";
        assert_eq!(go_test(&lines(go)), count(1, 1, 1));
        assert_eq!(
            go_test(&lines("# stabbur/clients\n./a_test.go:1:1: expected")),
            None
        );
        let surefire_lines = "[INFO] Tests run: 3, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 0.1 s -- in A\n\
                              [ERROR] Tests run: 9, Failures: 1, Errors: 2, Skipped: 1\n[INFO] BUILD FAILURE";
        assert_eq!(surefire(&lines(surefire_lines)), count(5, 3, 1));
        assert_eq!(surefire(&lines("[ERROR] COMPILATION ERROR")), None);
        let cargo = "running 2 tests\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n\
                     test result: ok. 0 passed; 0 failed; 0 ignored";
        assert_eq!(cargo_test(&lines(cargo)), count(1, 1, 0));
        assert_eq!(cargo_test(&lines("error: could not compile")), None);
    }

    #[test]
    fn suites_stand_side_by_side_and_count_once() {
        let count = |passed, failed, skipped| Count {
            passed,
            failed,
            skipped,
        };
        let mut tally = Tally::default();
        tally.add_on("a + b", "clients", count(7, 0, 2));
        tally.add_on("c + d", "clients", count(5, 1, 0));
        tally.add_on("c + d", "kills", count(3, 0, 0));
        assert_eq!(tally.total(), count(15, 1, 2));
        let shown = tally.side_by_side();
        let rows: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| {
                line.split('|')
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(rows[0], ["passed", "a + b", "c + d"]);
        assert_eq!(rows[2], ["clients", "7, 2 skipped", "5, 1 FAILED"]);
        assert_eq!(rows[3], ["kills", "-", "3"]);
    }

    #[test]
    fn reads_pytest_and_node() {
        let count = pytest(&lines(
            "x\n==== 1 failed, 20 passed, 2 skipped, 1 error in 75.21s (0:01:15) ====",
        ))
        .unwrap();
        assert_eq!(
            count,
            Count {
                passed: 20,
                failed: 2,
                skipped: 2
            }
        );
        assert!(pytest(&lines("no tests ran in 0.01s")).is_none());
        let count = node(&lines(
            "# tests 4\n# pass 3\n# fail 1\n# cancelled 0\n# skipped 0\n# todo 0",
        ))
        .unwrap();
        assert_eq!(
            count,
            Count {
                passed: 3,
                failed: 1,
                skipped: 0
            }
        );
        assert!(node(&lines("nothing")).is_none());
    }
}

//! What a test needs of the machine, and what to do where that is missing.

/// What was found; where it is missing, the test says so and passes. On CI, where somebody promised
/// that it is there, the test fails.
#[allow(clippy::print_stderr)] // It is for whoever runs the tests.
pub(crate) fn or_skip<T>(what: &str, found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(why) => {
            let on_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!on_ci, "{what} did not run: {why}");
            eprintln!("{what} did not run: {why}");
            None
        }
    }
}

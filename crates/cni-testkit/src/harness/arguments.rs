//! The command line. `libtest-mimic` takes one filter; the usual harness, and this one, take several.

use libtest_mimic::Arguments;

/// Flags whose value is the argument after them.
const WITH_VALUE: [&str; 6] = ["--test-threads", "--skip", "--logfile", "--color", "--format", "-Z"];

/// The arguments without filters, and the filters.
pub(super) fn read(given: &[String]) -> (Arguments, Vec<String>) {
    let (flags, filters) = split(given);
    let mut arguments = Arguments::from_iter(flags);
    if arguments.test_threads.is_none() {
        arguments.test_threads = std::env::var("RUST_TEST_THREADS").ok().and_then(|number| number.parse().ok());
    }
    (arguments, filters)
}

fn split(given: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut flags, mut filters) = (Vec::new(), Vec::new());
    let mut rest = given.iter();
    flags.extend(rest.next().cloned());
    while let Some(argument) = rest.next() {
        if argument == "--" {
            filters.extend(rest.by_ref().cloned());
        } else if argument == "--no-capture" {
            flags.push("--nocapture".to_owned());
        } else if argument.starts_with('-') {
            flags.push(argument.clone());
            flags.extend(WITH_VALUE.contains(&argument.as_str()).then(|| rest.next().cloned()).flatten());
        } else {
            filters.push(argument.clone());
        }
    }
    (flags, filters)
}

/// Whether one of the filters, if there are any, wants the test.
pub(super) fn wanted(filters: &[String], exact: bool, name: &str) -> bool {
    let fits = |filter: &String| if exact { name == filter } else { name.contains(filter.as_str()) };
    filters.is_empty() || filters.iter().any(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_flags_are_no_filters_and_filters_may_be_several() {
        let given = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (flags, filters) = split(&given("it first --skip third --test-threads=2 --exact second -- --fourth"));
        assert_eq!(flags, given("it --skip third --test-threads=2 --exact"));
        assert_eq!(filters, given("first second --fourth"));
        let (arguments, filters) = read(&given("it --include-ignored --test-threads 3 --no-capture first"));
        assert!(arguments.include_ignored && arguments.nocapture && arguments.filter.is_none());
        assert_eq!((arguments.test_threads, filters), (Some(3), given("first")));
    }

    #[test]
    fn a_filter_is_a_part_of_the_name_or_with_exact_all_of_it() {
        let filters = ["b::c".to_owned(), "x".to_owned()];
        assert!(wanted(&filters, false, "a::b::c_d") && wanted(&filters, false, "x"));
        assert!(!wanted(&filters, false, "a::b::d") && !wanted(&filters, true, "a::b::c_d"));
        assert!(wanted(&[], true, "anything"));
    }
}

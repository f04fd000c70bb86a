//! Errors for people.

/// An error with its causes, in one line. A cause that an error tells of by itself is not told twice.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Error {
        #[error("opening: {source}")]
        Tells { source: std::num::ParseIntError },
        #[error("reading")]
        Hides { source: std::num::ParseIntError },
    }

    #[test]
    fn each_cause_is_told_once() {
        let cause = || "x".parse::<u8>().unwrap_err();
        assert_eq!(chain(&Error::Tells { source: cause() }), "opening: invalid digit found in string");
        assert_eq!(chain(&Error::Hides { source: cause() }), "reading: invalid digit found in string");
    }
}

//! Properties that the fuzz targets expect of everything that a reader accepts.
//!
//! A target fails where a reader panics, needs too much time or memory, or accepts what breaks one
//! of these rules.

#![forbid(unsafe_code)]

/// The longest domain name and the longest label (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// The longest name of a file (Linux's `NAME_MAX`), and what the store puts around a name.
const MAX_FILE_NAME: usize = 255;
const AROUND_FILE_NAME: &str = ".tmp-18446744073709551615-.invalid";

/// A name that an order may have: letters, digits and inner hyphens, lower case, two labels or more,
/// perhaps with `*.` in front.
///
/// # Panics
/// If it is none.
pub fn assert_domain_name(name: &str) {
    let base = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    assert!(name.len() <= MAX_NAME, "{name:?} is too long");
    assert!(base.contains('.'), "{name:?} has one label");
    assert!(base.split('.').all(is_label), "{name:?} is no domain name");
}

/// A name that can stand in the state path.
///
/// # Panics
/// If it cannot.
pub fn assert_file_name(name: &str) {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    assert!(!name.is_empty() && !name.starts_with('.'), "{name:?} is hidden");
    assert!(name.bytes().all(allowed), "{name:?} has an odd character");
    assert!(name.len() + AROUND_FILE_NAME.len() <= MAX_FILE_NAME, "{name:?} is too long");
}

/// A text of another party that is shown: one line, of at most so many characters.
///
/// # Panics
/// If it is not.
pub fn assert_line(text: &str, longest: usize) {
    assert!(!text.chars().any(char::is_control), "{text:?} is not one line");
    assert!(text.chars().count() <= longest, "{} characters", text.chars().count());
}

//! The name that a client asks for, as it stands in the extension `server_name` (RFC 6066 section 3), and whether a
//! session may be resumed with it.

/// The type of a name of a host, the only one that there is.
const HOST_NAME: u8 = 0;

/// Reads the name out of the extension. `None`: there is none, or it is no such extension.
pub fn of_extension(extension: &[u8]) -> Option<&[u8]> {
    let (list, rest) = prefixed(extension)?;
    let (kind, list) = list.split_first()?;
    let (name, others) = prefixed(list)?;
    (rest.is_empty() && *kind == HOST_NAME && others.is_empty()).then_some(name)
}

/// Tells whether a session that began with one name may be resumed with another: RFC 6066 forbids it.
pub fn is_same(session: Option<&[u8]>, asked: Option<&[u8]>) -> bool {
    match (session, asked) {
        (Some(session), Some(asked)) => session.eq_ignore_ascii_case(asked),
        (session, asked) => session.is_none() && asked.is_none(),
    }
}

/// Divides bytes behind those that a length of 16 bits counts.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, bytes) = bytes.split_first_chunk::<2>()?;
    bytes.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::{is_same, of_extension};

    #[test]
    fn one_name_is_read_and_all_else_refused() {
        for (extension, expected) in [
            (&b"\0\x06\0\0\x03a.b"[..], Some(&b"a.b"[..])),
            (b"\0\x03\0\0\0", Some(b"")),
            (b"\0\x06\0\0\x03a\0b", Some(b"a\0b")),
            (b"", None),
            (b"\0", None),
            (b"\0\x06\0\0\x04a.b", None),
            (b"\0\x07\0\0\x03a.b", None),
            (b"\0\x06\0\0\x03a.bc", None),
            (b"\0\x06\x01\0\x03a.b", None),
            (b"\0\x0c\0\0\x03a.b\0\0\x03c.d", None),
            (b"\xff\xff\0\xff\xff", None),
        ] {
            assert_eq!(of_extension(extension), expected, "{extension:?}");
        }
    }

    #[test]
    fn a_session_belongs_to_its_name() {
        for (session, asked, expected) in [
            (Some(&b"a.test"[..]), Some(&b"A.test"[..]), true),
            (Some(b"a.test"), Some(b"b.test"), false),
            (Some(b"a.test"), None, false),
            (None, Some(b"a.test"), false),
            (None, None, true),
        ] {
            assert_eq!(is_same(session, asked), expected, "{session:?} {asked:?}");
        }
    }
}

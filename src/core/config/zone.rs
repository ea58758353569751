//! The directive `acme_dns_shared_zone`, and the size of the zone where it is not given.

use super::text::{invalid_parameter, is_file_name};

/// The name of the zone where none is given.
pub const DEFAULT_NAME: &str = "acme_dns";

/// Room for one certificate: two generations of a key with a chain of up to three certificates and
/// what is stapled to them, each in pages of its own, as the slab allocator places them.
const SIZE_PER_CERTIFICATE: usize = 32 * 1024;

/// The smallest zone: the allocator's own tables, and a few certificates.
const SMALLEST_DEFAULT: usize = 256 * 1024;

/// Pages that a zone needs for the allocator to work at all, as in nginx's own modules.
const MIN_PAGES: usize = 8;

/// A zone of shared memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedZone {
    /// Its name among nginx's zones.
    pub name: String,
    /// Its size in bytes.
    pub size: usize,
}

impl SharedZone {
    /// Reads the argument `zone=NAME:SIZE`; `page` is the size of a page in bytes.
    ///
    /// # Errors
    /// The argument has another form, or the zone is too small to hold anything.
    pub fn parse(arg: &str, page: usize) -> Result<Self, String> {
        let invalid = || invalid_parameter(arg);
        let value = arg.strip_prefix("zone=").ok_or_else(invalid)?;
        let (name, size) = value.split_once(':').ok_or_else(invalid)?;
        let size = parse_size(size).ok_or_else(|| format!("invalid zone size \"{arg}\""))?;
        if !is_file_name(name) {
            return Err(format!("invalid zone name \"{arg}\""));
        }
        if size < MIN_PAGES * page {
            let least = MIN_PAGES * page / 1024;
            return Err(format!("zone \"{arg}\" is too small, the minimum is {least}k"));
        }
        Ok(Self { name: name.to_owned(), size })
    }

    /// The zone for a number of certificates. The sizes are powers of two, so that a few
    /// certificates more do not mean new shared memory.
    pub fn for_certificates(count: usize) -> Self {
        let size = SMALLEST_DEFAULT.max(count.saturating_mul(SIZE_PER_CERTIFICATE));
        let size = size.checked_next_power_of_two().unwrap_or(size);
        Self { name: DEFAULT_NAME.to_owned(), size }
    }

    /// Tells whether this zone can be expected to hold so many certificates.
    pub fn suits(&self, count: usize) -> bool {
        self.size >= count.saturating_mul(SIZE_PER_CERTIFICATE)
    }
}

/// A size in nginx's units: `65536`, `512k`, `4M`.
fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 1024),
        b'm' | b'M' => (text.get(..text.len() - 1)?, 1024 * 1024),
        _ => (text, 1),
    };
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::SharedZone;

    #[test]
    fn zones_are_read_or_refused() {
        for (arg, expected) in [
            ("zone=acme:1m", Ok(("acme", 1024 * 1024))),
            ("zone=acme:64K", Ok(("acme", 64 * 1024))),
            ("zone=acme:32768", Ok(("acme", 32768))),
            ("zone=acme:8k", Err("zone \"zone=acme:8k\" is too small, the minimum is 32k")),
            ("zone=acme:", Err("invalid zone size \"zone=acme:\"")),
            ("zone=acme:1x", Err("invalid zone size \"zone=acme:1x\"")),
            ("zone=acme:-1m", Err("invalid zone size \"zone=acme:-1m\"")),
            (
                "zone=acme:99999999999999999999m",
                Err("invalid zone size \"zone=acme:99999999999999999999m\""),
            ),
            ("zone=:1m", Err("invalid zone name \"zone=:1m\"")),
            ("zone=acme", Err("invalid parameter \"zone=acme\"")),
            ("acme:1m", Err("invalid parameter \"acme:1m\"")),
        ] {
            let zone = SharedZone::parse(arg, 4096);
            let zone = zone.as_ref().map(|zone| (zone.name.as_str(), zone.size));
            assert_eq!(zone.map_err(String::as_str), expected, "{arg}");
        }
    }

    #[test]
    fn the_default_size_grows_in_steps() {
        for (count, expected) in
            [(0, 256), (1, 256), (8, 256), (9, 512), (100, 4096), (10_000, 524_288)]
        {
            assert_eq!(SharedZone::for_certificates(count).size, expected * 1024, "{count}");
            assert!(SharedZone::for_certificates(count).suits(count), "{count}");
        }
    }
}

//! A record as it lies in memory: the certificates of CAs, which thousands of records have in common, lie there once,
//! and each record refers to them.
//!
//! ```text
//! u32 number of references, then for each
//!     u32 place in the record, u32 length, u64 offset in the memory
//! the record without the parts that are referred to
//! ```
//! Integers are little-endian. The reader trusts no number.

use crate::material;
use std::ops::Range;
use zeroize::Zeroizing;

/// The bytes of the number of references.
const COUNT: usize = size_of::<u32>();

/// The bytes of a reference.
const REFERENCE: usize = 2 * size_of::<u32>() + size_of::<u64>();

/// Part of a record that lies elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// The bytes of the record that it is.
    pub range: Range<usize>,
    /// The offset of its bytes in the memory.
    pub offset: usize,
}

/// Lists the parts of a record that others may have too, in their order; none of what is no record.
pub fn common_parts(record: &[u8]) -> Vec<Range<usize>> {
    let small = |range: &Range<usize>| u32::try_from(range.end).is_ok();
    material::issuers(record).unwrap_or_default().into_iter().filter(small).collect()
}

/// Packs a record, with references to parts of it in their order.
pub fn pack(record: &[u8], references: &[Reference]) -> Zeroizing<Vec<u8>> {
    let parts: usize = references.iter().map(|reference| reference.range.len()).sum();
    let size = COUNT + references.len() * REFERENCE + record.len() - parts;
    // Allocated once: a growing vector would leave copies of a key behind.
    let mut packed = Zeroizing::new(Vec::with_capacity(size));
    put(&mut packed, references.len());
    for Reference { range, offset } in references {
        put(&mut packed, range.start);
        put(&mut packed, range.len());
        packed.extend_from_slice(&(*offset as u64).to_le_bytes());
    }
    let mut at = 0;
    for Reference { range, .. } in references {
        packed.extend_from_slice(&record[at..range.start]);
        at = range.end;
    }
    packed.extend_from_slice(&record[at..]);
    packed
}

fn put(out: &mut Vec<u8>, number: usize) {
    // Ranges that do not fit are no common parts.
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

/// Reads the references of a packed record, and what is behind them.
pub fn references(packed: &[u8]) -> Option<(Vec<Reference>, &[u8])> {
    let (count, mut rest) = number(packed)?;
    if count > rest.len() / REFERENCE {
        return None;
    }
    let mut references = Vec::with_capacity(count);
    for _ in 0..count {
        let (start, behind) = number(rest)?;
        let (length, behind) = number(behind)?;
        let (offset, behind) = behind.split_first_chunk::<8>()?;
        let range = start..start.checked_add(length)?;
        let offset = usize::try_from(u64::from_le_bytes(*offset)).ok()?;
        references.push(Reference { range, offset });
        rest = behind;
    }
    Some((references, rest))
}

/// Has a packed record refer to the same parts in another memory; `place` gives the offset there of the part with an
/// offset and a length here. `None`: it is no packed record, or a part is not there; then the record is of no use.
pub fn relocate(
    packed: &mut [u8],
    mut place: impl FnMut(usize, usize) -> Option<usize>,
) -> Option<()> {
    let (references, _) = references(packed)?;
    let places = packed.get_mut(COUNT..)?.chunks_exact_mut(REFERENCE);
    for (Reference { range, offset }, bytes) in references.into_iter().zip(places) {
        let offset = place(offset, range.len())? as u64;
        *bytes.last_chunk_mut()? = offset.to_le_bytes();
    }
    Some(())
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<COUNT>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Unpacks a record; `part` gives the bytes at an offset in the memory, or refuses. `None`: it is no packed record,
/// such as while it is being replaced.
pub fn unpack(
    packed: &[u8],
    mut part: impl FnMut(usize, usize) -> Option<Vec<u8>>,
) -> Option<Zeroizing<Vec<u8>>> {
    let (references, mut rest) = references(packed)?;
    let mut parts = Vec::with_capacity(references.len());
    for Reference { range, offset } in &references {
        parts.push(part(*offset, range.len())?);
    }
    let size = rest.len() + parts.iter().map(Vec::len).sum::<usize>();
    // As in `pack`.
    let mut record = Zeroizing::new(Vec::with_capacity(size));
    for (Reference { range, .. }, part) in references.iter().zip(&parts) {
        let (own, behind) = rest.split_at_checked(range.start.checked_sub(record.len())?)?;
        record.extend_from_slice(own);
        record.extend_from_slice(part);
        rest = behind;
    }
    record.extend_from_slice(rest);
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::{Reference, common_parts, pack, references, relocate, unpack};
    use crate::material::{Material, Pair};
    use proptest::prelude::{any, prop, proptest};

    fn record() -> Vec<u8> {
        let pair = |key: &[u8], chain: &[&[u8]]| Pair {
            key: key.to_vec().into(),
            chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
            staple: None,
            source: None,
        };
        let pairs =
            vec![pair(b"key", &[b"leaf", b"issuer", b"root"]), pair(b"other", &[b"2", b"issuer"])];
        Material { pairs }.encode().to_vec()
    }

    #[test]
    fn a_record_is_packed_without_the_certificates_of_authorities() {
        let record = record();
        let parts = common_parts(&record);
        let texts: Vec<&[u8]> = parts.iter().map(|range| &record[range.clone()]).collect();
        assert_eq!(texts, [b"issuer".as_slice(), b"root", b"issuer"]);
        let offsets = [64, 128, 64];
        let held: Vec<_> = parts
            .into_iter()
            .zip(offsets)
            .map(|(range, offset)| Reference { range, offset })
            .collect();
        let packed = pack(&record, &held);
        assert_eq!(
            packed.len(),
            packed.capacity(),
            "no reallocation left a copy of the key behind"
        );
        assert!(!packed.windows(6).any(|bytes| bytes == b"issuer"));
        assert_eq!(references(&packed).map(|(references, _)| references), Some(held));
        let memory = |offset, length| match (offset, length) {
            (64, 6) => Some(b"issuer".to_vec()),
            (128, 4) => Some(b"root".to_vec()),
            _ => None,
        };
        let unpacked = unpack(&packed, memory).expect("a record");
        assert_eq!(*unpacked, record);
        assert_eq!(unpacked.len(), unpacked.capacity());
        assert!(unpack(&packed, |_, _| None).is_none(), "a part that is not there");
    }

    #[test]
    fn a_record_can_refer_to_another_memory() {
        let record = record();
        let held = |offsets: [usize; 3]| -> Vec<Reference> {
            let parts = common_parts(&record).into_iter().zip(offsets);
            parts.map(|(range, offset)| Reference { range, offset }).collect()
        };
        let mut packed = pack(&record, &held([64, 128, 64]));
        let mut asked = Vec::new();
        let moved = relocate(&mut packed, |offset, length| {
            asked.push((offset, length));
            Some(offset + 1024)
        });
        assert_eq!((moved, asked), (Some(()), vec![(64, 6), (128, 4), (64, 6)]));
        assert_eq!(packed, pack(&record, &held([1088, 1152, 1088])));
        assert_eq!(relocate(&mut packed, |_, _| None), None, "a part that is not there");
    }

    #[test]
    fn what_is_no_record_has_no_common_parts_and_is_packed_as_it_is() {
        for record in [&b""[..], b"abc", &[0xff; 64]] {
            assert!(common_parts(record).is_empty());
            let unpacked = unpack(&pack(record, &[]), |_, _| None).expect("a record");
            assert_eq!(*unpacked, record);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(
            packed in prop::collection::vec(any::<u8>(), 0..80),
            count in 0_u8..4,
        ) {
            let _any = unpack(&packed, |_, length| Some(vec![0; length.min(64)]));
            let mut packed = [&[count, 0, 0, 0], packed.as_slice()].concat();
            let _any = unpack(&packed, |_, length| Some(vec![0; length.min(64)]));
            let _any = relocate(&mut packed, |offset, _| Some(offset));
        }
    }
}

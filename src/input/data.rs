//! Inputs that stand in the job itself: `data:` URLs, in base64 or percent-encoded.
//! In: the text behind `data:`. Out: the bytes and what they are said to be.

use super::target::invalid;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use connectors::failure::Failure;

/// Programs differ in whether they write the padding, and in what they leave in the last bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Bytes and claim.
pub(super) fn read(rest: &str) -> Result<(Vec<u8>, Option<String>), Failure> {
    let (head, body) = rest.split_once(',').ok_or_else(|| invalid("a data URL has no comma before its data"))?;
    let (claim, packed) = match head.rsplit_once(';') {
        Some((claim, end)) if end.trim().eq_ignore_ascii_case("base64") => (claim, true),
        _ => (head, false),
    };
    let plain = percent_decoded(body);
    let bytes = if packed {
        let letters: Vec<u8> = plain.into_iter().filter(|letter| !letter.is_ascii_whitespace()).collect();
        BASE64.decode(letters).map_err(|_| invalid("an input is not base64"))?
    } else {
        plain
    };
    Ok((bytes, Some(claim.to_owned()).filter(|claim| !claim.is_empty())))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high << 4 | low) as u8);
                bytes = ahead;
            }
            _ => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls_in_all_their_spellings() {
        for (rest, bytes, claim) in [
            ("image/png;base64,iVBORw==", &b"\x89PNG"[..], Some("image/png")),
            ("image/png;base64,iVBORw", b"\x89PNG", Some("image/png")),
            ("image/png;name=a;BASE64,iVBO\n Rw%3D%3d", b"\x89PNG", Some("image/png;name=a")),
            (";base64,aGk=", b"hi", None),
            (",a%20b%zz%", b"a b%zz%", None),
            ("text/plain,", b"", Some("text/plain")),
        ] {
            assert_eq!(read(rest).unwrap(), (bytes.to_vec(), claim.map(str::to_owned)), "{rest}");
        }
        for rest in ["image/png;base64", ";base64,i!", ";base64,iVBOR", ";base64,a-_b", ";base64,iV==BO"] {
            assert!(read(rest).is_err(), "{rest}");
        }
    }
}

//! Pictures that say `stand-in`: a small PNG writer without compression and seven letters.
//! In: size, tint and the texts to carry along. Out: the bytes of a real PNG file, the same for the same input.

/// Rows of five pixels, the lowest bit on the right.
const LETTERS: [[u8; 7]; 8] = [
    [0x0F, 0x10, 0x10, 0x0E, 0x01, 0x01, 0x1E],
    [0x04, 0x04, 0x0E, 0x04, 0x04, 0x04, 0x03],
    [0x00, 0x00, 0x0E, 0x01, 0x0F, 0x11, 0x0F],
    [0x00, 0x00, 0x16, 0x19, 0x11, 0x11, 0x11],
    [0x01, 0x01, 0x0D, 0x13, 0x11, 0x11, 0x0F],
    [0x00, 0x00, 0x00, 0x0E, 0x00, 0x00, 0x00],
    [0x04, 0x00, 0x0C, 0x04, 0x04, 0x04, 0x0E],
    [0x00, 0x00, 0x16, 0x19, 0x11, 0x11, 0x11],
];
const LETTER_WIDTH: u32 = 6;
const TEXT_WIDTH: u32 = LETTER_WIDTH * 8 - 1;

/// `tint` is 0xRRGGBB; `texts` are keyword and text, as ComfyUI stores graph and workflow.
pub(crate) fn png(width: u32, height: u32, tint: u32, texts: &[(&str, String)]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::with_capacity(13);
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    chunk(&mut file, b"IHDR", &header);
    for (keyword, text) in texts {
        let data: Vec<u8> =
            keyword.bytes().chain([0]).chain(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' })).collect();
        chunk(&mut file, b"tEXt", &data);
    }
    chunk(&mut file, b"IDAT", &zlib_stored(&pixels(width, height, tint)));
    chunk(&mut file, b"IEND", &[]);
    file
}

/// The same file without its texts, as `/view?channel=rgb` gives it.
pub(crate) fn without_texts(file: &[u8]) -> Vec<u8> {
    let mut kept = file.get(..8).unwrap_or_default().to_vec();
    let mut rest = file.get(8..).unwrap_or_default();
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let total = (u32::from_be_bytes(*length) as usize).saturating_add(12).min(rest.len());
        let (part, after) = rest.split_at(total);
        if part.get(4..8) != Some(b"tEXt") {
            kept.extend(part);
        }
        rest = after;
    }
    kept
}

fn pixels(width: u32, height: u32, tint: u32) -> Vec<u8> {
    let colour = [(tint >> 16) as u8, (tint >> 8) as u8, tint as u8];
    let bright = colour.iter().map(|part| u32::from(*part)).sum::<u32>() > 384;
    let ink = if bright { [0, 0, 0] } else { [255, 255, 255] };
    let scale = (width / (TEXT_WIDTH + 9)).clamp(1, 64).min((height / 9).max(1));
    let (left, top) = (width.saturating_sub(TEXT_WIDTH * scale) / 2, height.saturating_sub(7 * scale) / 2);
    let plain: Vec<u8> = std::iter::once(0).chain(colour.into_iter().cycle().take(width as usize * 3)).collect();
    let mut data = Vec::with_capacity(plain.len() * height as usize);
    for y in 0..height {
        let start = data.len() + 1;
        data.extend(&plain);
        let Some(row) = y.checked_sub(top).map(|y| y / scale).filter(|row| *row < 7) else {
            continue;
        };
        for x in left..width.min(left + TEXT_WIDTH * scale) {
            let column = (x - left) / scale;
            let bits = LETTERS[(column / LETTER_WIDTH) as usize][row as usize];
            if column % LETTER_WIDTH < 5 && bits >> (4 - column % LETTER_WIDTH) & 1 == 1 {
                let at = start + x as usize * 3;
                data[at..at + 3].copy_from_slice(&ink);
            }
        }
    }
    data
}

fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 65_000 * 5 + 16);
    out.extend([0x78, 0x01]);
    let mut blocks = data.chunks(0xFFFF).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for part in data.chunks(5_000) {
        for byte in part {
            a += u32::from(*byte);
            b += a;
        }
        a %= 65_521;
        b %= 65_521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xEDB8_8320 ^ value >> 1 } else { value >> 1 };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
};

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(data);
    let crc =
        !file[start..].iter().fold(!0u32, |crc, byte| CRC_TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ crc >> 8);
    file.extend(crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_whole_with_and_without_its_texts() {
        let with = png(96, 32, 0x20_4060, &[("prompt", "{}".to_owned())]);
        let without = without_texts(&with);
        assert_eq!(without, png(96, 32, 0x20_4060, &[]));
        assert!(with.windows(4).any(|part| part == b"tEXt"));
        assert!(without.ends_with(b"IEND\xAE\x42\x60\x82"));
    }

    #[test]
    fn the_letters_are_there_in_every_size() {
        for (width, height) in [(64, 64), (512, 768), (8, 8), (1, 1), (1024, 16)] {
            let data = pixels(width, height, 0);
            assert_eq!(data.len(), (width as usize * 3 + 1) * height as usize);
            assert!(width < 64 || data.contains(&255));
        }
    }
}

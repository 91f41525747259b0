//! A PNG written row by row, without compression and without ever holding the picture.
//! In: size and a seed. Out: chunks of bytes that together are a valid file (PNG 1.2, zlib stored blocks).

use bytes::Bytes;

/// Rows per chunk are chosen so that a stored block (65,535 bytes at most) holds them.
const STORED_BLOCK_MAX: usize = 65_535;

/// The pieces of one RGB picture, in order.
pub(super) struct Picture {
    width: u32,
    height: u32,
    seed: u64,
    row: u32,
    adler: Adler,
    state: Next,
}

enum Next {
    Header,
    Rows,
    End,
    Done,
}

impl Picture {
    pub fn new(width: u32, height: u32, seed: u64) -> Self {
        Self { width, height, seed, row: 0, adler: Adler(1, 0), state: Next::Header }
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut size = Vec::with_capacity(13);
        size.extend(self.width.to_be_bytes());
        size.extend(self.height.to_be_bytes());
        size.extend([8, 2, 0, 0, 0]); // 8 bits a channel, RGB, no interlace
        chunk(&mut bytes, b"IHDR", &size);
        bytes
    }

    fn rows(&mut self) -> Vec<u8> {
        let row_len = 1 + 3 * self.width as usize;
        let count = ((STORED_BLOCK_MAX / row_len).max(1) as u32).min(self.height - self.row);
        let mut raw = Vec::with_capacity(row_len * count as usize);
        for y in self.row..self.row + count {
            raw.push(0); // filter: none
            (0..self.width).for_each(|x| raw.extend(self.pixel(x, y)));
        }
        self.adler.update(&raw);
        let first = self.row == 0;
        self.row += count;
        let last = self.row == self.height;

        let mut data = Vec::with_capacity(raw.len() + 11);
        if first {
            data.extend([0x78, 0x01]);
        }
        let len = raw.len() as u16;
        data.push(last as u8);
        data.extend(len.to_le_bytes());
        data.extend((!len).to_le_bytes());
        data.extend(raw);
        if last {
            data.extend(self.adler.sum().to_be_bytes());
            self.state = Next::End;
        }
        let mut bytes = Vec::with_capacity(data.len() + 12);
        chunk(&mut bytes, b"IDAT", &data);
        bytes
    }

    /// A gradient whose colours come from the seed: two jobs' pictures are told apart by eye and by hash.
    fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let [a, b, c, ..] = self.seed.to_be_bytes();
        let across = (x * 255 / self.width.max(1)) as u8;
        let down = (y * 255 / self.height.max(1)) as u8;
        [a.wrapping_add(across), b.wrapping_add(down), c ^ across ^ down]
    }
}

impl Iterator for Picture {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match self.state {
            Next::Header => {
                self.state = Next::Rows;
                Some(self.header().into())
            }
            Next::Rows => Some(self.rows().into()),
            Next::End => {
                self.state = Next::Done;
                let mut bytes = Vec::new();
                chunk(&mut bytes, b"IEND", &[]);
                Some(bytes.into())
            }
            Next::Done => None,
        }
    }
}

fn chunk(into: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    into.extend((data.len() as u32).to_be_bytes());
    into.extend(name);
    into.extend(data);
    let sum = crc(crc(u32::MAX, name), data) ^ u32::MAX;
    into.extend(sum.to_be_bytes());
}

fn crc(start: u32, data: &[u8]) -> u32 {
    data.iter().fold(start, |sum, byte| CRC_TABLE[((sum ^ *byte as u32) & 0xff) as usize] ^ (sum >> 8))
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
};

struct Adler(u32, u32);

impl Adler {
    fn update(&mut self, data: &[u8]) {
        // 5552 is the longest run after which neither sum can have overflowed (zlib's NMAX).
        for part in data.chunks(5552) {
            for byte in part {
                self.0 += *byte as u32;
                self.1 += self.0;
            }
            self.0 %= 65_521;
            self.1 %= 65_521;
        }
    }

    fn sum(&self) -> u32 {
        (self.1 << 16) | self.0
    }
}

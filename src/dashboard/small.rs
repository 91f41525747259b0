//! Pictures made small for tiles, so that a page does not load megabytes for each.
//! In: an opened PNG, JPEG or WebP. Out: a WebP of some kilobytes, kept for whoever asks next; or nothing.
//!
//! What a job made is not to be trusted: the decoders are Rust without `unsafe` for speed, are told the most that they may
//! take (that of JPEGs cannot be told: it gets fewer pixels), and work one picture at a time on a thread of the pool; one
//! that panics loses its picture and nothing else.

use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// What tiles are.
pub(super) const MEDIA_TYPE: &str = "image/webp";
/// A tile's shorter side: what the page shows, on screens of twice the density.
const SIDE: u32 = 96;
/// Its longer side.
const LONGEST: u32 = 256;
/// Files up to here are given as they are.
const FINE: u64 = 24 << 10;
/// The same for kinds that are not made smaller; above it they are shown by their name.
const FINE_OF_OTHERS: u64 = 512 << 10;
/// Wider or higher pictures are not decoded.
const SIDE_MAX: u32 = 16_384;
/// Nor those with more pixels where all of them are in memory at once.
const PIXELS_MAX: u64 = 40_000_000;
/// The same where rows come one by one.
const PIXELS_BY_ROW_MAX: u64 = 160_000_000;
/// What a decoder may take beside its result; that of JPEGs, with its result.
const DECODER_MAX: usize = 256 << 20;
/// A JPEG that is progressive, or whose colours come one after the other, is decoded with all its coefficients in memory: two
/// bytes for each of up to four colours, and three for the result.
const PIXELS_OF_JPEG_MAX: u64 = DECODER_MAX as u64 / (4 * 2 + 3);
/// Tiles that are kept.
const KEPT: usize = 300;
/// What they may hold together.
const KEPT_BYTES: usize = 4 << 20;

/// Kinds that are made smaller.
const KINDS: [&str; 3] = ["image/png", "image/jpeg", "image/webp"];

/// Whether there is something for a tile, as far as its kind and length tell.
pub(super) fn has_tile(media_type: &str, length: u64) -> bool {
    KINDS.contains(&media_type) || length <= FINE_OF_OTHERS
}

/// Whether a tile may be the file itself.
pub(super) fn is_fine_as_it_is(media_type: &str, length: u64) -> bool {
    length <= FINE || !KINDS.contains(&media_type) && length <= FINE_OF_OTHERS
}

/// Which file a tile was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// The end, and the output of it.
    pub number: (u64, usize),
    pub length: u64,
    pub changed: Option<SystemTime>,
}

/// Newest last; those that could not be made are remembered, too.
type Known = VecDeque<(Kept, Option<Bytes>)>;

/// The tiles of this process.
#[derive(Clone)]
pub(super) struct Tiles {
    turn: Arc<Semaphore>,
    kept: Arc<Mutex<Known>>,
}

static OF_PROCESS: LazyLock<Tiles> = LazyLock::new(Tiles::new);

/// Those of this process.
pub(super) fn of_process() -> &'static Tiles {
    &OF_PROCESS
}

impl Tiles {
    fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), kept: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, of: Kept) -> Option<Option<Bytes>> {
        self.lock().iter().find(|(kept, _)| *kept == of).map(|(_, tile)| tile.clone())
    }

    /// The tile of this file.
    pub async fn of(&self, kept: Kept, media_type: &'static str, file: File) -> Option<Bytes> {
        if let Some(known) = self.known(kept) {
            return known;
        }
        let turn = self.turn.clone().acquire_owned().await.ok()?;
        if let Some(known) = self.known(kept) {
            return known;
        }
        let tiles = self.clone();
        let making = tokio::task::spawn_blocking(move || {
            let made = std::panic::catch_unwind(|| tile(media_type, file)).ok().flatten();
            // Whoever asked may be gone: the next one waits for the work all the same, and finds it done.
            tiles.keep(kept, made.clone());
            drop(turn);
            made
        });
        making.await.ok().flatten()
    }

    fn keep(&self, of: Kept, tile: Option<Bytes>) {
        let mut kept = self.lock();
        kept.push_back((of, tile));
        let held = |kept: &Known| -> usize { kept.iter().map(|(_, tile)| tile.as_ref().map_or(0, Bytes::len)).sum() };
        while kept.len() > KEPT || held(&kept) > KEPT_BYTES {
            kept.pop_front();
        }
    }
}

fn tile(media_type: &str, mut file: File) -> Option<Bytes> {
    let shrink = match media_type {
        "image/png" => png(BufReader::new(file))?,
        "image/jpeg" => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).ok()?;
            jpeg(&bytes)?
        }
        "image/webp" => webp(file)?,
        _ => return None,
    };
    let (width, height) = (shrink.width, shrink.height);
    let mut made = Vec::new();
    let encoder = image_webp::WebPEncoder::new(&mut made);
    encoder.encode(&shrink.pixels(), width, height, image_webp::ColorType::Rgba8).ok()?;
    Some(made.into())
}

fn png(file: impl std::io::BufRead + std::io::Seek) -> Option<Shrink> {
    let mut decoder = png::Decoder::new_with_limits(file, png::Limits { bytes: DECODER_MAX });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let (width, height) = (reader.info().width, reader.info().height);
    let channels = reader.output_color_type().0.samples();
    if !reader.info().interlaced {
        let mut shrink = Shrink::new((width, height), PIXELS_BY_ROW_MAX)?;
        while let Some(row) = reader.next_row().ok()? {
            shrink.take(row.data(), channels);
        }
        return Some(shrink);
    }
    let mut shrink = Shrink::new((width, height), PIXELS_MAX)?;
    let mut all = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut all).ok()?;
    all.chunks_exact(frame.line_size).take(height as usize).for_each(|row| shrink.take(row, channels));
    Some(shrink)
}

fn jpeg(bytes: &[u8]) -> Option<Shrink> {
    use zune_jpeg::zune_core::bytestream::ZCursor;
    use zune_jpeg::zune_core::colorspace::ColorSpace;
    use zune_jpeg::zune_core::options::DecoderOptions;
    let side = SIDE_MAX as usize;
    let options = DecoderOptions::default().set_max_width(side).set_max_height(side);
    let options = options.jpeg_set_out_colorspace(ColorSpace::RGB).set_use_unsafe(false);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    let (width, height) = decoder.dimensions()?;
    let mut shrink = Shrink::new((u32::try_from(width).ok()?, u32::try_from(height).ok()?), PIXELS_OF_JPEG_MAX)?;
    let all = decoder.decode().ok()?;
    all.chunks_exact(width * 3).for_each(|row| shrink.take(row, 3));
    Some(shrink)
}

fn webp(mut file: File) -> Option<Shrink> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).ok()?;
    decoder.set_memory_limit(DECODER_MAX);
    let (width, height) = decoder.dimensions();
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut shrink = Shrink::new((width, height), PIXELS_MAX)?;
    let mut all = vec![0; decoder.output_buffer_size()?];
    decoder.read_image(&mut all).ok()?;
    all.chunks_exact(width as usize * channels).for_each(|row| shrink.take(row, channels));
    Some(shrink)
}

/// A picture on its way to be small: each of its pixels is the mean of those that fall into it.
struct Shrink {
    of: (u32, u32),
    width: u32,
    height: u32,
    row: u32,
    /// Red, green and blue times alpha, alpha, and how many.
    sums: Vec<[u64; 5]>,
}

impl Shrink {
    fn new(of: (u32, u32), pixels_max: u64) -> Option<Self> {
        let (width, height) = of;
        let fits = (1..=SIDE_MAX).contains(&width) && (1..=SIDE_MAX).contains(&height);
        if !fits || u64::from(width) * u64::from(height) > pixels_max {
            return None;
        }
        let by =
            (f64::from(SIDE) / f64::from(width.min(height))).min(f64::from(LONGEST) / f64::from(width.max(height)));
        let scaled = |side: u32| ((f64::from(side) * by.min(1.0)).round() as u32).clamp(1, LONGEST);
        let (width, height) = (scaled(width), scaled(height));
        Some(Self { of, width, height, row: 0, sums: vec![[0; 5]; (width * height) as usize] })
    }

    /// The next row, of grey (1), grey and alpha (2), colours (3), colours and alpha (4).
    fn take(&mut self, row: &[u8], channels: usize) {
        let place = |at: u32, of: u32, into: u32| (u64::from(at) * u64::from(into) / u64::from(of.max(1))) as usize;
        let line = place(self.row, self.of.1, self.height) * self.width as usize;
        self.row += 1;
        for (at, pixel) in row.chunks_exact(channels).take(self.of.0 as usize).enumerate() {
            let (red, green, blue, alpha) = match *pixel {
                [grey] => (grey, grey, grey, 255),
                [grey, alpha] => (grey, grey, grey, alpha),
                [red, green, blue] => (red, green, blue, 255),
                [red, green, blue, alpha, ..] => (red, green, blue, alpha),
                [] => return,
            };
            let Some(sum) = self.sums.get_mut(line + place(at as u32, self.of.0, self.width)) else { return };
            let weighed = |colour: u8| u64::from(colour) * u64::from(alpha);
            let add = [weighed(red), weighed(green), weighed(blue), u64::from(alpha), 1];
            sum.iter_mut().zip(add).for_each(|(sum, add)| *sum += add);
        }
    }

    /// Red, green, blue and alpha of each pixel.
    fn pixels(&self) -> Vec<u8> {
        let mean = |sum: u64, of: u64| (sum + of / 2).checked_div(of).unwrap_or(0).min(255) as u8;
        let pixel = |[red, green, blue, alpha, count]: &[u64; 5]| {
            [mean(*red, *alpha), mean(*green, *alpha), mean(*blue, *alpha), mean(*alpha, *count)]
        };
        self.sums.iter().flat_map(pixel).collect()
    }
}

#[cfg(test)]
#[path = "small_tests.rs"]
mod tests;
